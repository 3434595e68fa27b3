"""Decide which differences between the compact and the masked model are rounding errors."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from acgraph.backends.ort.compare import Comparison, distance
from acgraph.backends.ort.evidence import Evidence, Feeds, Pair, Trial, collect
from acgraph.backends.ort.inside import tail_model
from acgraph.backends.ort.noise import FACTOR, TRIALS, Noise, measure_noise, record_change
from acgraph.backends.ort.session import Session, SessionSettings
from acgraph.backends.ort.verdict import EquivalenceResult, OutputEquivalence, join
from acgraph.errors import BackendError
from acgraph.ir import Array

_log = logging.getLogger(__name__)

#: Largest error of an output (True) or an intermediate tensor (False), as a multiple of the
#: tolerance, relative to the change of the tensor between inputs. Otherwise a wrong cut of a part
#: that hardly influences the tensor would pass.
_CHANGE_FACTORS = {True: 100.0, False: 10.0}
#: If rounding alone explains a larger relative error, or a larger share of wrong integers, the
#: comparison is vacuous.
_MAX_NOISE = 0.1


def judge(
    pair: Pair,
    feeds: Sequence[Feeds],
    *,
    tolerance: float,
    settings: SessionSettings,
    in_float32: Mapping[int, Mapping[str, Array]] | None = None,
) -> tuple[EquivalenceResult, Evidence]:
    """Compare two models on given inputs.

    Args:
        pair: The models.
        feeds: The inputs.
        tolerance: Largest allowed relative error.
        settings: Settings of both sessions.
        in_float32: For a reference in 16-bit floats, its outputs in float32 for each index of
            ``feeds``; the difference from its 16-bit outputs counts as rounding.

    Returns:
        The verdict, and the comparisons that it is based on.

    Raises:
        VerifyError: The two models have different inputs or outputs.
        BackendError: A model cannot be loaded, or the reference cannot run usual inputs.
    """
    found = collect(pair, feeds, settings)
    noise: Noise = {}
    reference = pair.masked.graph or pair.masked.source
    limits = {
        name: _limit(entry, tolerance, _CHANGE_FACTORS[found.is_output(name)])
        for name, entry in found.table.items()
    }
    doubtful = {
        name for name, entry in found.table.items() if _needs_noise(entry, tolerance, limits[name])
    }
    if doubtful:
        trials = _trials_to_measure(found, {name: limits[name] for name in doubtful})
        noise = measure_noise(reference, trials, settings, names=doubtful, shown=pair.inside.names)
        _add_precision(noise, found, in_float32 or {})
    verdicts = {
        name: _verdict(entry, limits[name], noise.get(name, {}))
        for name, entry in found.table.items()
    }
    inside = [verdict for name, verdict in verdicts.items() if not found.is_output(name)]
    is_conclusive = 2 * sum(not item.vacuous for item in inside) > len(inside)
    for name, entry in found.table.items():
        is_weak = verdicts[name].vacuous and not entry.is_vacuous
        if found.is_output(name) and is_conclusive and is_weak:
            remark = (
                "it depends on the inputs less than on rounding; the intermediate tensors were "
                "compared instead"
            )
            verdicts[name] = replace(verdicts[name], vacuous=False, remark=remark)
    outputs = [
        _compare_before_tail(verdict, verdicts, pair, found, tolerance, settings)
        for name, verdict in verdicts.items()
        if found.is_output(name)
    ]
    inputs = len(found.trials)
    return join(outputs, inside, tolerance=tolerance, inputs=inputs, notes=found.notes), found


def _add_precision(
    noise: Noise, found: Evidence, in_float32: Mapping[int, Mapping[str, Array]]
) -> None:
    for trial in found.trials:
        values = in_float32.get(trial.index, {})
        for name, expected in trial.expected.items():
            if name in values:
                with np.errstate(over="ignore"):
                    rounded = values[name].astype(expected.dtype)
                record_change(noise, name, trial, distance(rounded, expected))


def _limit(entry: Comparison, tolerance: float, factor: float) -> float:
    """Return the relative error that is allowed without measuring the rounding."""
    change = entry.change
    return tolerance if change is None else tolerance * min(1.0, factor * change)


def _needs_noise(entry: Comparison, tolerance: float, limit: float) -> bool:
    """Whether the verdict depends on the size of rounding errors."""
    if entry.reason or not entry.is_float:
        return bool(entry.reason)
    return 0 < limit < tolerance or not entry.max_rel_error <= limit


def _trials_to_measure(found: Evidence, limits: Mapping[str, float]) -> list[Trial]:
    """Return the first trials, and those where a tensor differs by more than its limit.

    How much rounding changes a tensor depends on the inputs: it may be a thousand times as much for
    larger ones. So each difference is compared with the rounding on the same inputs.
    """
    over = {
        number
        for name, limit in limits.items()
        for number, distance in found.table[name].distances.items()
        if not distance <= limit
    }
    return [
        trial for place, trial in enumerate(found.trials) if place < TRIALS or trial.index in over
    ]


def _verdict(entry: Comparison, limit: float, noise: Mapping[int, float]) -> OutputEquivalence:
    """Judge one tensor.

    Args:
        entry: How far it differs.
        limit: Relative error that is allowed without measuring the rounding.
        noise: Relative change by rounding, for each trial where it was measured.
    """
    # The first trials decide whether the comparison is conclusive: the inputs are the usual ones.
    floor = FACTOR * max((noise[number] for number in sorted(noise)[:TRIALS]), default=0.0)
    floors = {number: FACTOR * change for number, change in noise.items()}
    over = {
        number: distance
        for number, distance in entry.distances.items()
        if not distance <= floors.get(number, 0.0)
    }
    largest = max(noise.values(), default=0.0)
    is_noisy = floor > _MAX_NOISE or (entry.change is not None and entry.change <= floor)
    reason, remark = entry.reason, ""
    if entry.is_float and not reason and over and not max(over.values()) <= limit:
        worst = max(over, key=lambda number: over[number])
        allowed = max(limit, floors.get(worst, 0.0))
        reason = f"relative error {over[worst]:.1e} exceeds {allowed:.0e}"
    if reason and not over and not entry.is_hopeless:
        reason = ""
    if max(entry.distances.values(), default=0.0) > limit and not reason:
        measured = f"a difference of {largest:.1e}" if np.isfinite(largest) else "another shape"
        remark = f"the difference is rounding, which alone causes {measured} in the masked model"
    return OutputEquivalence(
        name=entry.name,
        max_abs_error=entry.max_abs_error,
        max_rel_error=entry.max_rel_error,
        passed=not reason,
        vacuous=entry.is_vacuous or is_noisy,
        reason=reason,
        noise=largest,
        remark=remark,
    )


def _compare_before_tail(
    verdict: OutputEquivalence,
    verdicts: Mapping[str, OutputEquivalence],
    pair: Pair,
    found: Evidence,
    tolerance: float,
    settings: SessionSettings,
) -> OutputEquivalence:
    """Decide about an output by the inputs of its tail, if the tail hides or amplifies differences.

    If these inputs are equal, and the tail of the compact model computes the outputs of the masked
    model from them, both models compute the same output.
    """
    starts = pair.inside.tails.get(verdict.name, ())
    inner = [name for name in starts if name not in found.trials[0].feeds]
    before = [verdicts[name] for name in inner if name in verdicts]
    if not inner or len(before) < len(inner) or not all(item.passed for item in before):
        return verdict
    is_conclusive = not all(item.vacuous for item in before)
    is_clear = verdict.passed and not verdict.remark
    if is_clear and not (verdict.vacuous and is_conclusive):
        return verdict
    is_same = _tail_agrees(verdict.name, starts, pair, found, tolerance, settings)
    if is_same is None or (is_clear and not is_same):
        return verdict
    if not is_same:
        reason = verdict.reason or "its last operators compute another output from equal inputs"
        return replace(verdict, passed=False, reason=reason, remark="")
    where = ", ".join(f"'{item.name}'" for item in before)
    return replace(
        verdict,
        max_abs_error=max(item.max_abs_error for item in before),
        max_rel_error=max(item.max_rel_error for item in before),
        passed=True,
        vacuous=not is_conclusive,
        reason="",
        remark=f"compared before its last operators, at {where}",
    )


def _tail_agrees(
    name: str,
    starts: Sequence[str],
    pair: Pair,
    found: Evidence,
    tolerance: float,
    settings: SessionSettings,
) -> bool | None:
    """Run the tail of the compact model on the inputs of the masked model's tail.

    Returns:
        Whether it computes the masked model's output; None if the tail cannot be run.
    """
    if pair.compact.graph is None or found.reshaped.intersection(starts):
        return None
    entry = Comparison(name)
    for trial in found.trials:
        known = {**trial.feeds, **trial.expected}
        if not known.keys() >= set(starts):
            return None
        given = {start: known[start] for start in starts}
        try:
            made = Session(tail_model(pair.compact.graph, name, given), settings).run(given)
        except BackendError as error:
            _log.info("the last operators of the network cannot be run alone: %s", error)
            return None
        entry.add(made.get(name), trial.expected[name])
    return not entry.reason and entry.max_rel_error <= tolerance
