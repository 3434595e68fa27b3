"""Candidates: equivalent implementations of one layer, and the protocol that chooses one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from acgraph.lowering.fragment import Fragment
from acgraph.lowering.layer import ConvLayer

DENSE = "dense"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One implementation of a layer.

    Attributes:
        form: ``dense``, ``crop``, ``channels``, ``gather`` or ``split``.
        variant: Variant of the form, for logs and tables; empty where the form has only one.
        fragment: The nodes.
        columns: Number of weight columns that it stores.
        params: Number of elements of the constants that it adds to the model.
        size: Estimated number of bytes that it adds to the file.
    """

    form: str
    variant: str
    fragment: Fragment
    columns: int
    params: int
    size: int

    @property
    def label(self) -> str:
        """``form:variant``, or the form alone where it has one variant."""
        return f"{self.form}:{self.variant}" if self.variant else self.form


class Chooser(Protocol):
    """Chooses the implementation of a layer."""

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Return one of the candidates; the first is always the dense layer."""
        ...


@runtime_checkable
class TimedChooser(Chooser, Protocol):
    """A chooser that times candidates."""

    def known_ms(self, candidates: Sequence[Candidate]) -> list[float | None]:
        """Return the times of the candidates in milliseconds; None where it timed none."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A candidate before the cost of its constants is known."""

    form: str
    variant: str
    fragment: Fragment
    columns: int


#: Returns the drafts of one form for a layer; none where the form cannot express the layer.
ConvForm = Callable[[ConvLayer], Sequence[Draft]]
