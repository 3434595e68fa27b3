"""Candidates: ways to compute one layer, all exact, to choose from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from acgraph.lowering.fragment import Fragment
from acgraph.lowering.layer import ConvLayer

DENSE = "dense"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One way to compute a layer.

    Attributes:
        form: ``dense``, ``crop``, ``channels``, ``gather`` or ``split``.
        variant: Which of the form's several ways; for logs and tables.
        fragment: The nodes.
        columns: Columns of the weights that it stores.
        params: Elements of the constants that it adds to the model.
        size: About how many bytes it adds to the file.
    """

    form: str
    variant: str
    fragment: Fragment
    columns: int
    params: int
    size: int

    @property
    def label(self) -> str:
        """Form and variant in one word."""
        return f"{self.form}:{self.variant}" if self.variant else self.form


class Chooser(Protocol):
    """Chooses how a layer is computed."""

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Return one of the candidates; the first is always the dense layer."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """What a form proposes, before its constants are counted."""

    form: str
    variant: str
    fragment: Fragment
    columns: int


#: A form proposes drafts for a layer; none where it cannot express it.
ConvForm = Callable[[ConvLayer], Sequence[Draft]]
