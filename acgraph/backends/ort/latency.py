"""Latency of several models at once, fairly: interleaved, and compared pair by pair.

Other work on the machine, frequency steps and warm caches move the clock by a factor of two within
seconds. Whatever is measured one after another measures that. Here every round runs each model
once, in an order that turns round every time, so that neighbours in time are compared.
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

#: Measuring time per model, in seconds, where no number of runs is asked for.
BUDGET_S = 2.0
MIN_RUNS = 15
MAX_RUNS = 400
#: A run shorter than this is repeated within one sample, so that the clock is fine enough.
MIN_SAMPLE_S = 0.5e-3
#: Two equal models differ by less than this nearly always; a smaller gain is not called one.
NOISE = 0.03
#: The rounds are cut into so many blocks, and of each the fastest run of either model is compared:
#: what another process interrupted drops out.
BLOCKS = 16
#: A block counts where both have a run within this factor of their fastest. On a machine with three
#: times more work than cores nearly all runs of 4 ms are interrupted, and few of 1 ms: blocks of 4
#: rounds of which all counted made 11x of what is 2.8x.
CLEAN = 1.25
#: With fewer blocks that count the fastest runs of all are compared.
FEW_BLOCKS = 3
#: Seconds of sleep before each sample. Who has slept is given the processor for a while.
PAUSE_S = 1e-3
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latency of one model.

    Attributes:
        p50_ms: Median milliseconds of one run.
        p90_ms: 90th percentile.
        min_ms: Fastest.
        runs: How many samples.
        samples_ms: Every sample, in time order; sample ``i`` of two models measured together
            are neighbours in time.
    """

    p50_ms: float
    p90_ms: float
    min_ms: float
    runs: int
    samples_ms: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times as long one model takes as another, with its 95 % confidence interval."""

    median: float
    low: float
    high: float

    @property
    def is_faster(self) -> bool:
        """True where the second model is faster beyond noise and chance."""
        return self.low > 1.0 and self.median > 1.0 + NOISE


def latency_from_samples(samples_ms: Sequence[float]) -> Latency:
    """Summarise samples, in milliseconds."""
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
    """Measure models against each other in ONNX Runtime.

    Args:
        models: The models or loaded sessions.
        settings: How to run those that are not sessions.
        runs: Samples of each; chosen by ``budget_s`` where it is None.
        warmup: Runs of each before the clock starts.
        sizes: Of the inputs of models in files, see ``Session``.
        feeds: Inputs of each model instead of random ones.
        budget_s: Time for each model, in seconds.

    Returns:
        One latency for each model, in their order.
    """
    if runs is not None and runs < 1:
        raise UsageError(f"{runs} runs", hint="ask for at least 1")
    sessions = [m if isinstance(m, Session) else Session(m, settings, sizes=sizes) for m in models]
    chosen = feeds or [random_inputs(session) for session in sessions]
    calls = [_call(session, values) for session, values in zip(sessions, chosen, strict=True)]
    return [
        latency_from_samples(samples)
        for samples in interleave(calls, runs=runs, warmup=warmup, budget_s=budget_s)
    ]


def _call(session: Session, feeds: Mapping[str, Array]) -> Callable[[], object]:
    session.run(feeds)  # the first run checks the names and reports what is wrong
    return lambda: session.run_raw(feeds)


def interleave(
    calls: Sequence[Callable[[], object]],
    *,
    runs: int | None = None,
    warmup: int = 3,
    budget_s: float = BUDGET_S,
) -> list[list[float]]:
    """Time several calls by turns; return the milliseconds of one call, sample by sample.

    Args:
        calls: What to time.
        runs: Samples of each; chosen by ``budget_s`` where it is None.
        warmup: Calls of each beforehand; at least one is made, to see how long it takes.
        budget_s: Time for each, in seconds.
    """
    expected = [min(_time(call, 1) for _ in range(max(1, warmup))) for call in calls]
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
                samples[index].append(_time(calls[index], repeats[index]) * 1e3)
            order.reverse()
    finally:
        if enabled:
            gc.enable()
    return samples


def _time(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def compare_latency(before: Latency, after: Latency, *, seed: int = 0) -> Ratio:
    """Say how many times as fast ``after`` is, from two latencies that were measured together.

    The rounds are cut into ``BLOCKS`` blocks of neighbours in time, or of one round each where
    there are few. Those count in which neither model was interrupted all the time, see ``CLEAN``.
    The result is the median of the ratios of the fastest runs, with its 95 % bootstrap interval.

    Raises:
        UsageError: the two were not measured together.
    """
    if before.runs != after.runs:
        raise UsageError(
            f"{before.runs} and {after.runs} samples cannot be paired", hint="measure them together"
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
