"""A plan: the coupled sets to remove, and the columns of each layer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Family
from acgraph.ir import Array

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Plan:
    """The coupled sets and columns to remove.

    Attributes:
        sets: By family name: ``bool [size]``, True for coupled sets to remove.
        columns: By weight name: ``bool [in_ch / group, *kernel]``, True for columns to remove
            (from all filters of the layer).
    """

    sets: Mapping[str, Bools] = field(default_factory=dict)
    columns: Mapping[str, Bools] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as lists of removed indices."""
        return {
            "sets": {name: np.flatnonzero(removed).tolist() for name, removed in self.sets.items()},
            "columns": {
                name: {"shape": list(removed.shape), "removed": np.flatnonzero(removed).tolist()}
                for name, removed in self.columns.items()
            },
        }


def removed_labels(dependency: DependencyGraph, plan: Plan) -> Bools:
    """Return ``bool [labels]``: True for the labels that a plan removes."""
    top = max((int(own.max()) for own in dependency.labels.values()), default=0)
    for axes in dependency.axes.values():
        top = max(top, *(int(labels.max()) for labels in axes.values()))
    removed = np.zeros(top + 1, bool)
    for name, sets in plan.sets.items():
        removed[dependency.labels[name][sets]] = True
    return removed


def kept_positions(dependency: DependencyGraph, plan: Plan) -> dict[str, dict[int, Bools]]:
    """Return the kept indices by tensor and axis, ``bool [size]``, for the axes that are cut."""
    removed = removed_labels(dependency, plan)
    kept: dict[str, dict[int, Bools]] = {}
    for name, axes in dependency.axes.items():
        for axis, labels in axes.items():
            lost: Bools = np.asarray(removed[labels].any(axis=1))
            if lost.any():
                kept.setdefault(name, {})[axis] = ~lost
    return kept


@dataclass(frozen=True, slots=True)
class Zeroed:
    """The parts of one constant that are zero in the masked model: whole slices, and columns.

    Attributes:
        slices: By axis, ``bool [size]``: True where a slice is zero.
        columns: ``bool [I/group, *kernel]``: True for zero columns; None if there are none.
    """

    slices: dict[int, Bools] = field(default_factory=dict)
    columns: Bools | None = None

    def apply(self, value: Array) -> Array:
        """Return a copy of a value of the constant with these parts set to zero."""
        result = value.copy()
        for index in self._places():
            result[index] = np.zeros((), value.dtype)
        return result

    def mask(self, shape: tuple[int, ...]) -> Bools:
        """Return a ``bool`` array of this shape, True for zero elements."""
        found = np.zeros(shape, bool)
        for index in self._places():
            found[index] = True
        return found

    def _places(self) -> Iterator[tuple[Any, ...]]:
        for axis, lost in self.slices.items():
            yield (*(slice(None),) * axis, lost)
        if self.columns is not None:
            yield (slice(None), self.columns)


def zeroed_parts(families: Mapping[str, Family], plan: Plan) -> dict[str, Zeroed]:
    """Return, by constant, the parts that are zero in the masked model.

    These are the removed filters and columns: the rows of producers with their bias, scale and
    shift, and the columns of readers.
    """
    zeroed: dict[str, Zeroed] = {}
    for name, removed in plan.sets.items():
        for member in families[name].members:
            if member.role == "other":
                continue
            lost = (member.sets >= 0) & removed[member.sets]
            if lost.any():
                slices = zeroed.setdefault(member.tensor, Zeroed()).slices
                slices[member.axis] = slices.get(member.axis, np.False_) | lost
    for name, columns in plan.columns.items():
        slices = zeroed[name].slices if name in zeroed else {}
        zeroed[name] = Zeroed(slices, columns)
    return zeroed


def zero(weights: Mapping[str, Array], zeroed: Mapping[str, Bools]) -> dict[str, Array]:
    """Return copies of the weights that have elements to zero, with these elements set to zero.

    Args:
        weights: The weights by name.
        zeroed: By constant: True for elements to zero, see ``zeroed_elements``; constants that are
            not among the weights are ignored.
    """
    return {
        name: np.where(mask, 0, weights[name]).astype(weights[name].dtype)
        for name, mask in zeroed.items()
        if name in weights
    }


def zeroed_elements(
    families: Mapping[str, Family], plan: Plan, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Bools]:
    """Return, by constant, a ``bool`` array of its shape: True for zero in the masked model."""
    parts = zeroed_parts(families, plan)
    return {name: part.mask(shapes[name]) for name, part in parts.items()}
