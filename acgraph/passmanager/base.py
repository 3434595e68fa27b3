"""The protocol of a pass: a frozen dataclass whose fields are its options."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from acgraph.diagnostics import Diagnostic
from acgraph.ir import Model

#: Metadata of fields that pipeline text cannot set.
HIDDEN: Mapping[str, bool] = MappingProxyType({"hidden": True})
#: Mean and variance of channels, ``float [channels]``, by the name of a tensor.
Statistics = Mapping[str, tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]]


@dataclass(frozen=True, slots=True)
class PassContext:
    """What a pass may use in addition to the model.

    Attributes:
        seed: Seed of every random choice; equal seeds give equal models.
        log: Logger of the pass.
        statistics: Measures the mean and variance of every channel of the named tensors on data;
            None where there is no data.
    """

    seed: int = 0
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("acgraph.passes"))
    statistics: Callable[[Model, Sequence[str]], Statistics] | None = None

    def rng(self) -> np.random.Generator:
        """Return a new random number generator with the seed."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True, slots=True)
class PassResult:
    """The result of a pass.

    Attributes:
        modified: True if and only if the model changed; the manager can check this.
        statistics: Counts by their description: ``{"removed nodes": 3}``.
        remarks: Nodes or values that the pass had to leave unchanged, with the reason.
    """

    modified: bool
    statistics: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True)
class Pass(ABC):
    """A transformation of a model, in place.

    A subclass is a ``@dataclass(frozen=True)``. All its fields have defaults and are options of the
    pipeline text, except those with the metadata ``HIDDEN``. The model is valid
    (``acgraph.ir.check``) before and after ``run``. A pass is idempotent: a second run changes
    nothing.
    """

    #: Kebab-case, verb first, as the name of the module.
    name: ClassVar[str]

    def requires(self, model: Model, context: PassContext) -> None:  # noqa: B027
        """Raise PreconditionError where the pass cannot run on this model."""

    @abstractmethod
    def run(self, model: Model, context: PassContext) -> PassResult:
        """Change the model in place and return what was changed."""

    def ensures(self, model: Model, context: PassContext) -> None:  # noqa: B027
        """Raise PostconditionError where the result of the pass violates its guarantees."""


def options(one: Pass | type[Pass]) -> list[Field[Any]]:
    """List the fields of a pass that pipeline text may set."""
    return [f for f in fields(one) if not f.metadata.get("hidden")]
