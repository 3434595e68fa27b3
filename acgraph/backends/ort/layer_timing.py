"""Choose lowerings by what ONNX Runtime measures on this machine."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from acgraph.backends.ort.latency import measure_latency
from acgraph.backends.ort.session import SessionSettings
from acgraph.ir import Model
from acgraph.lowering.chooser import Timer, TimingChooser, cache_folder
from acgraph.lowering.cost_model import Metric

#: Which percentile of the samples is compared. What else the machine does only ever adds time, and
#: hits long runs more often than short ones: on a busy machine medians flatter the short ones.
PERCENTILE = 10
#: Measuring time for each candidate, in seconds.
CANDIDATE_BUDGET_S = 0.1


def layer_timer(
    settings: SessionSettings | None = None, *, budget_s: float = CANDIDATE_BUDGET_S
) -> Timer:
    """Return what times models of one layer against each other, by turns.

    Args:
        settings: How to run them; by default one thread and no NCHWc, as on a phone.
        budget_s: Time for each model, in seconds.
    """

    def time(models: list[Model]) -> list[float]:
        measured = measure_latency(models, settings, budget_s=budget_s)
        return [float(np.percentile(latency.samples_ms, PERCENTILE)) for latency in measured]

    return time


def timing_chooser(
    metric: Metric = "latency",
    settings: SessionSettings | None = None,
    *,
    cache_dir: Path | None = None,
    budget_s: float = CANDIDATE_BUDGET_S,
) -> TimingChooser:
    """Return a chooser that times candidates in ONNX Runtime and remembers the times.

    Args:
        metric: What to make small.
        settings: How to run the candidates.
        cache_dir: Where to remember; ``acgraph.lowering.chooser.cache_folder()`` by default.
        budget_s: Time for each candidate, in seconds.
    """
    settings = settings or SessionSettings()
    return TimingChooser(
        time=layer_timer(settings, budget_s=budget_s),
        runtime=f"onnxruntime {ort.__version__} {settings}",
        cache_dir=cache_dir or cache_folder(),
        metric=metric,
    )
