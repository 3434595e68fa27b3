"""Say in words how much was cut of what was asked for; and if little, why and what would help."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from acgraph.analysis.obstacles import OUTPUT_REASON
from acgraph.diagnostics import counted, printable
from acgraph.pruning.rate import format_rate

#: Less than this share of what was asked for is hardly anything.
LITTLE = 0.1
#: An obstacle is blamed where it holds at least this share of the weights.
BLAMED = 0.1
#: Words in the reason of a fence that sizes of the inputs could lift.
_OF_SIZES = ("is unknown", "depends on the size", "cannot be run on the inputs that reach it")


class Holder(Protocol):
    """What keeps weights from being cut, see ``acgraph.analysis.obstacles.Obstacle``."""

    @property
    def nodes(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def share(self) -> float: ...  # noqa: D102
    @property
    def inexact(self) -> bool: ...  # noqa: D102


def is_little(asked: float, reached: float) -> bool:
    """Say whether hardly anything was cut of what was asked for; both are shares, 0 to 1."""
    return asked > 0 and reached < LITTLE * asked


def blame(holding: Sequence[Holder]) -> str:
    """Name what holds most of the weights, in a clause; empty where nothing holds many.

    >>> from acgraph.analysis.obstacles import Obstacle
    >>> blame([Obstacle(nodes=("ln1", "ln2"), reason="normalises", share=0.871, inexact=True)])
    "87 % of the weights cannot be cut because of 'ln1' and 1 other node (normalises)"
    """
    if not holding or holding[0].share < BLAMED:
        return ""
    first = holding[0]
    more = f" and {counted(len(first.nodes) - 1, 'other node')}" if len(first.nodes) > 1 else ""
    share = f"{100 * first.share:.0f} %"
    where = printable(first.nodes[0])
    return (
        f"{share} of the weights cannot be cut because of '{where}'{more} "
        f"({printable(first.reason)})"
    )


def remedy(holding: Sequence[Holder], rates: Mapping[str, float]) -> str:
    """Say what would help, in a sentence; empty where nothing is known to.

    Args:
        holding: What holds the weights, most first.
        rates: By option: the rate of params that it was found to lead to.
    """
    tried = [f"{name} would give {format_rate(rate)} fewer params" for name, rate in rates.items()]
    if tried:
        return f"{'; '.join(tried)}."
    blamed = [each for each in holding if each.share >= BLAMED]
    if any(word in each.reason for each in blamed for word in _OF_SIZES):
        return "--input-shape may help: it sets the shape of an input."
    if blamed and blamed[0].inexact:
        return f"--allow-inexact would allow cuts in {100 * blamed[0].share:.0f} % of the weights."
    if blamed and blamed[0].reason == OUTPUT_REASON:
        return "All channels of these layers are outputs; only their columns can be cut."
    return ""
