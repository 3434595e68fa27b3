"""Measure the latency of several models by interleaved runs, and compare them pairwise.

Other processes, frequency scaling and warm caches change run times by a factor of two within
seconds, which would distort measurements of one model after another. Therefore each round runs
every model once, in alternating order, and runs that are close in time are compared.
"""

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.session import ModelSource, Session, SessionSettings
from acgraph.errors import UsageError
from acgraph.ir import Array, InputSizes

#: Measuring time per model in seconds, if the number of runs is not given.
BUDGET_S = 2.0
MIN_RUNS = 15
MAX_RUNS = 400
#: Shorter runs are repeated within one sample, because of the resolution of the clock.
MIN_SAMPLE_S = 0.5e-3
#: Two equal models nearly always differ by less than this; a smaller gain does not count as one.
NOISE = 0.03
#: Number of blocks of rounds. For each block, the fastest runs of both models are compared, so that
#: interrupted runs have no influence.
BLOCKS = 16
#: A block is used if both models have a run within this factor of their fastest run. If three
#: times as many processes run as there are cores, nearly all runs of 4 ms are interrupted, but few
#: of 1 ms: using all blocks then gave 11x instead of 2.8x.
CLEAN = 1.25
#: If fewer blocks are usable, the fastest runs of all rounds are compared.
FEW_BLOCKS = 3
#: Seconds of sleep before each sample; the scheduler prefers processes that have slept.
PAUSE_S = 1e-3
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latency of one model.

    Attributes:
        p50_ms: Median milliseconds of one run.
        p90_ms: 90th percentile.
        min_ms: Milliseconds of the fastest run.
        runs: Number of samples.
        samples_ms: All samples in time order; samples ``i`` of models that were measured together
            are close in time.
    """

    p50_ms: float
    p90_ms: float
    min_ms: float
    runs: int
    samples_ms: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Ratio of the latencies of two models, with its 95 % confidence interval.

    Attributes:
        median: Latency of the first model divided by that of the second.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    median: float
    low: float
    high: float

    @property
    def is_faster(self) -> bool:
        """Whether the second model is faster, significantly and by more than ``NOISE``."""
        return self.low > 1.0 and self.median > 1.0 + NOISE


def latency_from_samples(samples_ms: Sequence[float]) -> Latency:
    """Return the statistics of samples in milliseconds."""
    array = np.asarray(samples_ms, dtype=np.float64)
    return Latency(
        p50_ms=float(np.median(array)),
        p90_ms=float(np.percentile(array, 90)),
        min_ms=float(array.min()),
        runs=len(array),
        samples_ms=tuple(float(sample) for sample in array),
    )


def measure_latency(
    models: Sequence[ModelSource | Session],
    settings: SessionSettings | None = None,
    *,
    runs: int | None = None,
    warmup: int = 3,
    sizes: InputSizes | None = None,
    feeds: Sequence[Mapping[str, Array]] | None = None,
    budget_s: float = BUDGET_S,
) -> list[Latency]:
    """Measure the latency of models in ONNX Runtime, in interleaved runs.

    Args:
        models: The models or loaded sessions.
        settings: Settings of the sessions of models that are not loaded.
        runs: Number of samples of each model; None chooses it by ``budget_s``.
        warmup: Number of warm-up runs of each model.
        sizes: Input sizes of models that are not loaded, see ``Session``.
        feeds: Inputs of each model; None makes random ones.
        budget_s: Measuring time per model in seconds.

    Returns:
        One latency for each model, in their order.

    Raises:
        UsageError: ``runs`` is less than 1.
        BackendError: A model cannot be loaded or run.
    """
    if runs is not None and runs < 1:
        raise UsageError(f"runs is {runs}", hint="give at least 1")
    sessions = [m if isinstance(m, Session) else Session(m, settings, sizes=sizes) for m in models]
    chosen = feeds or [random_inputs(session) for session in sessions]
    calls = [_call(session, values) for session, values in zip(sessions, chosen, strict=True)]
    return [
        latency_from_samples(samples)
        for samples in interleave(calls, runs=runs, warmup=warmup, budget_s=budget_s)
    ]


def _call(session: Session, feeds: Mapping[str, Array]) -> Callable[[], object]:
    session.run(feeds)  # the first run checks the inputs
    return lambda: session.run_raw(feeds)


def interleave(
    calls: Sequence[Callable[[], object]],
    *,
    runs: int | None = None,
    warmup: int = 3,
    budget_s: float = BUDGET_S,
) -> list[list[float]]:
    """Time several functions in interleaved calls.

    Args:
        calls: The functions.
        runs: Number of samples of each function; None chooses it by ``budget_s``.
        warmup: Number of warm-up calls of each function; at least one, to estimate its time.
        budget_s: Measuring time per function in seconds.

    Returns:
        For each function, the milliseconds of one call in each sample.
    """
    expected = [min(seconds_per_call(call, 1) for _ in range(max(1, warmup))) for call in calls]
    repeats = [max(1, math.ceil(MIN_SAMPLE_S / seconds)) for seconds in expected]
    if runs is None:
        round_s = sum(count * seconds for count, seconds in zip(repeats, expected, strict=True))
        runs = int(np.clip(budget_s * len(calls) / max(round_s, 1e-9), MIN_RUNS, MAX_RUNS))
    samples: list[list[float]] = [[] for _ in calls]
    order = list(range(len(calls)))
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(runs):
            for index in order:
                time.sleep(PAUSE_S)
                samples[index].append(seconds_per_call(calls[index], repeats[index]) * 1e3)
            order.reverse()
    finally:
        if enabled:
            gc.enable()
    return samples


def seconds_per_call(call: Callable[[], object], repeats: int) -> float:
    """Return the mean seconds of a call over several calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def compare_latency(before: Latency, after: Latency, *, seed: int = 0) -> Ratio:
    """Return the ratio of two latencies that were measured together.

    The rounds are split into ``BLOCKS`` blocks of consecutive rounds (blocks of one round if there
    are few). Blocks in which all runs of a model were interrupted are left out, see ``CLEAN``. The
    result is the median of the ratios of the blocks' fastest runs, with a 95 % bootstrap interval.

    Args:
        before: Latency of the first model.
        after: Latency of the second model.
        seed: Seed of the bootstrap.

    Raises:
        UsageError: The numbers of samples differ, so the two were not measured together.
    """
    if before.runs != after.runs:
        raise UsageError(
            f"{before.runs} and {after.runs} samples cannot be paired",
            hint="measure both models in one call",
        )
    block = max(1, before.runs // BLOCKS)
    first, second = (_fastest(each.samples_ms, block) for each in (before, after))
    clean = (first <= CLEAN * first.min()) & (second <= CLEAN * second.min())
    if clean.sum() >= FEW_BLOCKS:
        ratios = (first / second)[clean]
        median = float(np.median(ratios))
    else:
        ratios = first / second
        median = float(first.min() / second.min())
    rng = np.random.default_rng(seed)
    resampled = np.median(ratios[rng.integers(0, len(ratios), (_RESAMPLES, len(ratios)))], axis=1)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Ratio(median=median, low=min(float(low), median), high=max(float(high), median))


def _fastest(samples_ms: Sequence[float], block: int) -> npt.NDArray[np.float64]:
    whole = len(samples_ms) // block * block
    rounds = np.asarray(samples_ms[:whole], dtype=np.float64).reshape(-1, block)
    return np.asarray(rounds.min(axis=1))
