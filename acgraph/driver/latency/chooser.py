"""Make the chooser of compact forms, which times them on this host or uses a cost model."""

from acgraph.backends.ort.layer_timing import timing_chooser
from acgraph.backends.ort.session import SessionSettings
from acgraph.lowering.base import Chooser
from acgraph.lowering.cost_model import CostModelChooser, Metric

_AIMS: dict[str, Metric] = {"params": "params", "size": "size"}


def make_chooser(metric: str, *, timing: bool, settings: SessionSettings | None = None) -> Chooser:
    """Make the chooser that picks a form for each layer with removed columns.

    Args:
        metric: The metric of the target: ``params`` and ``size`` take the smallest form that is not
            slower than dense, all others the fastest.
        timing: Time the forms on this host; otherwise, a cost model decides, independent of the
            host.
        settings: Settings of the timed sessions; by default those of a phone.
    """
    aim: Metric = _AIMS.get(metric, "latency")
    if not timing:
        return CostModelChooser(metric=aim)
    return timing_chooser(aim, settings)
