"""A plan: which coupled sets go, and which columns of which layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.families import Family

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to remove.

    Attributes:
        sets: By family name: ``bool [size]``, True for coupled sets that go.
        columns: By weight name: ``bool [in_ch / group, *kernel]``, True for columns that go
            (over all filters of the layer).
    """

    sets: Mapping[str, Bools] = field(default_factory=dict)
    columns: Mapping[str, Bools] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain lists of removed positions."""
        return {
            "sets": {name: np.flatnonzero(gone).tolist() for name, gone in self.sets.items()},
            "columns": {
                name: {"shape": list(gone.shape), "removed": np.flatnonzero(gone).tolist()}
                for name, gone in self.columns.items()
            },
        }


def removed_labels(dependency: DependencyGraph, plan: Plan) -> Bools:
    """Return ``bool [labels]``: True for the labels that a plan removes."""
    top = max((int(own.max()) for own in dependency.labels.values()), default=0)
    for axes in dependency.axes.values():
        top = max(top, *(int(labels.max()) for labels in axes.values()))
    gone = np.zeros(top + 1, bool)
    for name, sets in plan.sets.items():
        gone[dependency.labels[name][sets]] = True
    return gone


def kept_positions(dependency: DependencyGraph, plan: Plan) -> dict[str, dict[int, Bools]]:
    """Return, by tensor and axis, ``bool [size]``: the positions that stay; cut axes only."""
    gone = removed_labels(dependency, plan)
    kept: dict[str, dict[int, Bools]] = {}
    for name, axes in dependency.axes.items():
        for axis, labels in axes.items():
            lost: Bools = np.asarray(gone[labels].any(axis=1))
            if lost.any():
                kept.setdefault(name, {})[axis] = ~lost
    return kept


def zeroed_elements(
    families: Mapping[str, Family], plan: Plan, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Bools]:
    """Return, by constant, ``bool`` of its shape: the elements that the masked model zeroes.

    These are the removed filters and columns: rows of the producers with their bias, scale and
    shift, and the columns of the readers.
    """
    zeroed: dict[str, Bools] = {}
    for name, gone in plan.sets.items():
        for member in families[name].members:
            if member.role == "other":
                continue
            lost = (member.sets >= 0) & gone[member.sets]
            if lost.any():
                mask = zeroed.setdefault(member.tensor, np.zeros(shapes[member.tensor], bool))
                index: list[Any] = [slice(None)] * mask.ndim
                index[member.axis] = lost
                mask[tuple(index)] = np.True_
    for name, columns in plan.columns.items():
        dense = zeroed.setdefault(name, np.zeros(shapes[name], bool))
        dense[:, columns] = True
    return zeroed
