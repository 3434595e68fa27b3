"""What a pass is: a frozen dataclass whose fields are its options."""

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

#: Metadata of fields that only code can set: they are no options of pipeline text.
HIDDEN: Mapping[str, bool] = MappingProxyType({"hidden": True})
#: Mean and variance of channels, ``float [channels]``, by the name of a tensor.
Statistics = Mapping[str, tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]]


@dataclass(frozen=True, slots=True)
class PassContext:
    """What a pass may use beside the model.

    Attributes:
        seed: Seed of every random choice; equal seeds give equal models.
        log: Where a pass says what it did.
        statistics: Measures mean and variance of every channel of tensors, on data, by the name of
            the tensor; None where there is no data.
    """

    seed: int = 0
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("acgraph.passes"))
    statistics: Callable[[Model, Sequence[str]], Statistics] | None = None

    def rng(self) -> np.random.Generator:
        """Make a fresh generator of random numbers from the seed."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass did.

    Attributes:
        modified: True exactly where the model changed; the manager can check the claim.
        statistics: Counts by what was counted, in words: ``{"removed nodes": 3}``.
        remarks: What the pass left alone although it was asked for, and why.
    """

    modified: bool
    statistics: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True)
class Pass(ABC):
    """One change of a model, in place.

    A subclass is a ``@dataclass(frozen=True)``; its fields, all with defaults, are the options
    that pipeline text may set, but for those with the metadata ``HIDDEN``. The model is whole
    (``acgraph.ir.check``) before and after ``run``; it need not be during. Applied twice, a pass
    does nothing the second time.
    """

    #: Kebab-case, verb first, equal to the name of the module.
    name: ClassVar[str]

    def requires(self, model: Model, context: PassContext) -> None:  # noqa: B027
        """Raise PreconditionError where the pass cannot run on this model."""

    @abstractmethod
    def run(self, model: Model, context: PassContext) -> PassResult:
        """Change the model in place and say what was done."""

    def ensures(self, model: Model, context: PassContext) -> None:  # noqa: B027
        """Raise PostconditionError where the pass did not do what it promises."""


def options(one: Pass | type[Pass]) -> list[Field[Any]]:
    """List the fields of a pass that pipeline text may set."""
    return [f for f in fields(one) if not f.metadata.get("hidden")]
