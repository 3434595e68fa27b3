"""Choose lowerings by what ONNX Runtime measures on this machine."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.session import Session, SessionSettings
from acgraph.ir import Model
from acgraph.lowering.chooser import Timer, TimingChooser, cache_folder
from acgraph.lowering.cost_model import Metric

#: Which percentile of the samples is compared. What else the machine does only ever adds time, and
#: hits long runs more often than short ones: on a busy machine medians flatter the short ones.
PERCENTILE = 10
#: Measuring time for each candidate, in seconds.
CANDIDATE_BUDGET_S = 0.1
MIN_ROUNDS, MAX_ROUNDS = 9, 200
#: A run shorter than this is repeated within one sample, so that the clock is fine enough.
MIN_SAMPLE_S = 0.1e-3


def layer_timer(
    settings: SessionSettings | None = None, *, budget_s: float = CANDIDATE_BUDGET_S
) -> Timer:
    """Return what times models of one layer against each other, as ``sample_layers`` does.

    Args:
        settings: How to run them; by default one thread and no NCHWc, as on a phone.
        budget_s: Time for each model, in seconds.
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
    """Time models of one layer by turns; return milliseconds of one run, sample by sample.

    Before each sample the model runs once without the clock. In a network the layer's input was
    just written and its buffers are those of the layers before, so that a run after itself is
    nearer to that than a run after all the other candidates, which finds the caches full of
    theirs: that makes the forms with more intermediates look up to 1.3 times slower than they are.

    Args:
        models: Each of one layer, with one input.
        settings: How to run them; by default one thread and no NCHWc, as on a phone.
        budget_s: Time for each model, in seconds.
    """
    calls = [_call(Session(model, settings)) for model in models]
    return [[1e3 * seconds for seconds in each] for each in _samples(calls, budget_s)]


def _call(session: Session) -> Callable[[], object]:
    feeds = random_inputs(session)
    return lambda: session.run_raw(feeds)


def _samples(calls: list[Callable[[], object]], budget_s: float) -> list[list[float]]:
    """Seconds of one run, sample by sample, for each call."""
    expected = [min(_seconds(call, 1) for _ in range(3)) for call in calls]
    repeats = [max(1, math.ceil(MIN_SAMPLE_S / seconds)) for seconds in expected]
    round_s = sum((1 + count) * seconds for count, seconds in zip(repeats, expected, strict=True))
    rounds = int(np.clip(budget_s * len(calls) / round_s, MIN_ROUNDS, MAX_ROUNDS))
    samples: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, count, found in zip(calls, repeats, samples, strict=True):
            call()
            found.append(_seconds(call, count))
    return samples


def _seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


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
