"""Choose how lowerings are chosen: by timing on this host, or by a model of the cost."""

from acgraph.backends.ort.layer_timing import timing_chooser
from acgraph.backends.ort.session import SessionSettings
from acgraph.lowering.base import Chooser
from acgraph.lowering.cost_model import CostModelChooser, Metric

_AIMS: dict[str, Metric] = {"params": "params", "size": "size"}


def make_chooser(metric: str, *, timing: bool, settings: SessionSettings | None = None) -> Chooser:
    """Make the chooser that picks a form for each layer with removed columns.

    Args:
        metric: Metric of the target: ``params`` and ``size`` take the smallest form that is not
            slower than dense, all others the fastest.
        timing: Time the forms on this host; without it a cost model decides, the same everywhere.
        settings: Of the sessions that are timed; by default those of a phone.
    """
    aim: Metric = _AIMS.get(metric, "latency")
    if not timing:
        return CostModelChooser(metric=aim)
    return timing_chooser(aim, settings)
