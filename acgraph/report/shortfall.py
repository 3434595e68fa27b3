"""Explain why little was cut, and suggest options that would allow more."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from acgraph.analysis.obstacles import OUTPUT_REASON
from acgraph.diagnostics import counted, printable
from acgraph.pruning.rate import format_rate

#: A cut of less than this share of the request counts as almost nothing.
LITTLE = 0.1
#: Smallest share of the weights for which an obstacle is named.
BLAMED = 0.1
#: Phrases in the reason of a fence that known input sizes could remove.
_UNKNOWN_SIZE = ("is unknown", "depends on the size", "cannot be run on the inputs that reach it")


class ObstacleLike(Protocol):
    """An obstacle of ``acgraph.analysis.obstacles`` or of the report."""

    @property
    def nodes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def share(self) -> float: ...  # noqa: D102
    @property
    def inexact(self) -> bool: ...  # noqa: D102


def is_little(requested: float, reached: float) -> bool:
    """Return whether almost nothing of the request was cut; both are shares from 0 to 1."""
    return requested > 0 and reached < LITTLE * requested


def main_obstacle_text(obstacles: Sequence[ObstacleLike]) -> str:
    """Describe the largest obstacle in a clause; empty if it concerns few weights.

    >>> from acgraph.analysis.obstacles import Obstacle
    >>> norm = Obstacle(nodes=("ln1", "ln2"), reason="normalises", share=0.871, inexact=True)
    >>> main_obstacle_text([norm])
    "87 % of the weights cannot be cut because of 'ln1' and 1 other node (normalises)"
    """
    if not obstacles or obstacles[0].share < BLAMED:
        return ""
    first = obstacles[0]
    more = f" and {counted(len(first.nodes) - 1, 'other node')}" if len(first.nodes) > 1 else ""
    share = f"{100 * first.share:.0f} %"
    where = printable(first.nodes[0])
    return (
        f"{share} of the weights cannot be cut because of '{where}'{more} "
        f"({printable(first.reason)})"
    )


def remedy(obstacles: Sequence[ObstacleLike], rates: Mapping[str, float]) -> str:
    """Suggest an option that would allow more cuts, in a sentence; empty if none is known.

    Args:
        obstacles: The obstacles, by share of the weights, largest first.
        rates: The rate of params that an option would lead to, by option.
    """
    tried = [f"{name} would give {format_rate(rate)} fewer params" for name, rate in rates.items()]
    if tried:
        return f"{'; '.join(tried)}."
    blamed = [each for each in obstacles if each.share >= BLAMED]
    if any(phrase in each.reason for each in blamed for phrase in _UNKNOWN_SIZE):
        return "--input-shape may help: it sets the shape of an input."
    if blamed and blamed[0].inexact:
        return f"--allow-inexact would allow cuts in {100 * blamed[0].share:.0f} % of the weights."
    if blamed and blamed[0].reason == OUTPUT_REASON:
        return "All channels of these layers are outputs; only their columns can be cut."
    return ""
