"""Coupled sets and the families that they come in: the result types of the dependency analysis."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from acgraph.diagnostics import Diagnostic

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One axis of one constant that a family cuts.

    Attributes:
        tensor: Name of the constant.
        axis: The axis of the constant, from 0.
        sets: ``int64 [size of the axis]``: the number of the coupled set that each position
            belongs to, or -1 where the family leaves the position alone.
        role: ``"filter"`` where the positions are made (weights of the producer, its bias, scale
            and shift), ``"column"`` where they are read, ``"other"`` for constants that must
            shrink along but that need not be zero in the masked model.
    """

    tensor: str
    axis: int
    sets: IntArray
    role: str


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Coupled sets that lie on the same axes: the channels of one stream, the heads of one block.

    Removing coupled set ``s`` deletes, for every member, the positions where ``member.sets == s``.

    Attributes:
        name: The node that makes the positions; unique.
        size: How many coupled sets there are, numbered from 0.
        members: The axes of constants that are cut.
        fences: Why the family may not be cut; empty when it may.
        inexact: Why a cut would change the function of the zeroed model; empty when exact.
        min_keep: How many of its coupled sets must stay at least.
        rivals: Names of families that cross this one (heads and the features inside a head);
            of two rivals a plan cuts one: both may leave nothing.
    """

    name: str
    size: int
    members: tuple[Member, ...]
    fences: tuple[Diagnostic, ...] = ()
    inexact: tuple[Diagnostic, ...] = ()
    rivals: tuple[str, ...] = field(default=())
    min_keep: int = 1

    @property
    def is_prunable(self) -> bool:
        """True where nothing fences the family."""
        return not self.fences and self.size > 1

    @property
    def is_exact(self) -> bool:
        """True where deleting equals zeroing."""
        return not self.inexact
