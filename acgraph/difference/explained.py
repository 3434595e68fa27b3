"""Check that a plan explains every resized constant of a difference."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from acgraph.diagnostics import counted
from acgraph.difference.types import ConstantChange, GraphDiff
from acgraph.ir import Array, Model
from acgraph.pruning.cut_plan import CutPlan

#: Largest number of constants that a line names.
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What a plan says about the resized constants of a difference.

    Attributes:
        same: Constants that are those of the first model without the removed indices.
        changed: Constants of the planned shape whose values changed, too, as by training.
        unexplained: Constants of another shape than planned.
    """

    same: tuple[str, ...]
    changed: tuple[str, ...]
    unexplained: tuple[str, ...]

    def lines(self) -> list[str]:
        """Describe the result."""
        count = len(self.same) + len(self.changed)
        lines = [
            f"the plan explains {counted(count, 'resized constant')}; "
            f"the values of {len(self.changed)} changed, too"
        ]
        if self.unexplained:
            names = ", ".join(self.unexplained[:_SHOWN])
            more = len(self.unexplained) - _SHOWN
            lines.append(
                f"the plan does not explain {counted(len(self.unexplained), 'resized constant')}: "
                f"{names}{f' and {more} more' if more > 0 else ''}"
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "same": list(self.same),
            "changed": list(self.changed),
            "unexplained": list(self.unexplained),
        }


def explain_by_plan(first: Model, second: Model, diff: GraphDiff, plan: CutPlan) -> Explained:
    """Apply a plan to every resized constant of the first model, and compare with the second.

    Args:
        first: The model that the plan was made for.
        second: The compact model.
        diff: Their difference.
        plan: The removed indices.
    """
    pairs = _constants(first, second, diff)
    same: list[str] = []
    changed: list[str] = []
    unexplained: list[str] = []
    for change in diff.constants:
        if change.shape[0] == change.shape[1]:
            continue
        before, after = pairs[change.name, change.node]
        shaped = [cut for cut in _cuts(change, before, plan) if cut.shape == after.shape]
        if any(np.array_equal(cut, after, equal_nan=cut.dtype.kind == "f") for cut in shaped):
            same.append(change.name)
        else:
            (changed if shaped else unexplained).append(change.name)
    return Explained(same=tuple(same), changed=tuple(changed), unexplained=tuple(unexplained))


def _constants(
    first: Model, second: Model, diff: GraphDiff
) -> Mapping[tuple[str, str], tuple[Array, Array]]:
    """Return both values of each changed constant, by its name and the node that reads it."""
    renamed = {change.before: change.after for change in diff.renamed}
    ours, theirs = ({n.name: n for n in model.graph.nodes} for model in (first, second))
    found = {}
    for change in diff.constants:
        node, other = ours[change.node], theirs[renamed.get(change.node, change.node)]
        slot = next(k for k, tensor in enumerate(node.inputs) if tensor.name == change.name)
        values = np.asarray(node.inputs[slot].values), np.asarray(other.inputs[slot].values)
        found[change.name, change.node] = values
    return found


def _cuts(change: ConstantChange, before: Array, plan: CutPlan) -> Iterator[Array]:
    """Yield a constant without the removed indices, for each reader that the plan lists."""
    own = [cut for cut in plan.axes if cut.tensor == change.name]
    for reader in dict.fromkeys(cut.reader for cut in own):
        left = before
        for cut in own:
            if cut.reader == reader and cut.axis < before.ndim:
                removed = [index for index in cut.removed if index < before.shape[cut.axis]]
                left = np.delete(left, removed, cut.axis)
        yield left
