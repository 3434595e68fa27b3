"""Families of coupled sets: the result types of the dependency analysis."""

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
        sets: ``int64 [size of the axis]``: the number of the coupled set of each position, or -1
            where the family does not cut the position.
        role: ``"filter"`` in producers (weight, bias, scale and shift), ``"column"`` in consumers,
            ``"other"`` for constants that are cut, too, but need not be zero in the masked model.
    """

    tensor: str
    axis: int
    sets: IntArray
    role: str


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Coupled sets on the same axes: the channels of one residual stream, the heads of one block.

    Removing coupled set ``s`` deletes, for every member, the positions where ``member.sets == s``.

    Attributes:
        name: Unique name: that of the node that produces the positions.
        size: Number of coupled sets, numbered from 0.
        members: The axes of constants that are cut.
        fences: Why the family may not be cut; empty where it may.
        inexact: Why a cut would differ from the masked model; empty where cuts are exact.
        min_keep: Least number of its coupled sets that must be kept.
        rivals: Names of families that cross this one (heads and the features of a head). A plan
            cuts only one of two rivals: cutting both could leave an empty axis.
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
        """True where the family has no fence and more than one coupled set."""
        return not self.fences and self.size > 1

    @property
    def is_exact(self) -> bool:
        """True where the shrunk model equals the masked model."""
        return not self.inexact
