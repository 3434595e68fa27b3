"""Choose the lowered form of layers by timing them in ONNX Runtime on this machine."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.latency import seconds_per_call
from acgraph.backends.ort.session import Session, SessionSettings
from acgraph.ir import Model
from acgraph.lowering.chooser import Timer, TimingChooser, cache_folder
from acgraph.lowering.cost_model import Metric

#: Percentile of the samples that is compared. Other processes only add time, and interrupt long
#: runs more often than short ones, so that medians would favour the short ones on a busy machine.
PERCENTILE = 10
#: Measuring time for each candidate in seconds.
CANDIDATE_BUDGET_S = 0.1
MIN_ROUNDS, MAX_ROUNDS = 9, 200
#: Shorter runs are repeated within one sample, because of the resolution of the clock.
MIN_SAMPLE_S = 0.1e-3


def layer_timer(
    settings: SessionSettings | None = None, *, budget_s: float = CANDIDATE_BUDGET_S
) -> Timer:
    """Return a function that times models of one layer, see ``sample_layers``.

    Args:
        settings: Settings of the sessions; by default one thread and no NCHWc, as on a phone.
        budget_s: Measuring time per model in seconds.
    """

    def times_ms(models: list[Model]) -> list[float]:
        samples = sample_layers(models, settings, budget_s=budget_s)
        return [float(np.percentile(each, PERCENTILE)) for each in samples]

    return times_ms


def sample_layers(
    models: list[Model],
    settings: SessionSettings | None = None,
    *,
    budget_s: float = CANDIDATE_BUDGET_S,
) -> list[list[float]]:
    """Time models of one layer in interleaved runs.

    Before each sample the model runs once untimed. In a network, the input of a layer was just
    written, and its buffers were used by the layers before it. A second run of the same model
    resembles this more than a run after the other candidates, which have filled the caches. Without
    the untimed run, forms with more intermediate tensors appear up to 1.3 times slower.

    Args:
        models: Models of one layer with one input.
        settings: Settings of the sessions; by default one thread and no NCHWc, as on a phone.
        budget_s: Measuring time per model in seconds.

    Returns:
        For each model, the milliseconds of one run in each sample.
    """
    calls = [_call(Session(model, settings)) for model in models]
    return [[1e3 * seconds for seconds in each] for each in _samples(calls, budget_s)]


def _call(session: Session) -> Callable[[], object]:
    feeds = random_inputs(session)
    return lambda: session.run_raw(feeds)


def _samples(calls: list[Callable[[], object]], budget_s: float) -> list[list[float]]:
    """Return, for each call, the seconds of one run in each sample."""
    expected = [min(seconds_per_call(call, 1) for _ in range(3)) for call in calls]
    repeats = [max(1, math.ceil(MIN_SAMPLE_S / seconds)) for seconds in expected]
    round_s = sum((1 + count) * seconds for count, seconds in zip(repeats, expected, strict=True))
    rounds = int(np.clip(budget_s * len(calls) / round_s, MIN_ROUNDS, MAX_ROUNDS))
    samples: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, count, found in zip(calls, repeats, samples, strict=True):
            call()
            found.append(seconds_per_call(call, count))
    return samples


def timing_chooser(
    metric: Metric = "latency",
    settings: SessionSettings | None = None,
    *,
    cache_dir: Path | None = None,
    budget_s: float = CANDIDATE_BUDGET_S,
) -> TimingChooser:
    """Return a chooser that times candidates in ONNX Runtime and caches the times.

    Args:
        metric: The metric to minimise.
        settings: Settings of the sessions.
        cache_dir: Folder of the cache; by default ``acgraph.lowering.chooser.cache_folder()``.
        budget_s: Measuring time per candidate in seconds.
    """
    settings = settings or SessionSettings()
    return TimingChooser(
        time=layer_timer(settings, budget_s=budget_s),
        runtime=f"onnxruntime {ort.__version__} {settings}",
        cache_dir=cache_dir or cache_folder(),
        metric=metric,
    )
