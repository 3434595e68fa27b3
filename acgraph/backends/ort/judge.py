"""Judge two forms of one network: which differences are rounding, and which are not."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from acgraph.backends.ort.compare import Comparison, unlikeness
from acgraph.backends.ort.evidence import Evidence, Feeds, Pair, collect
from acgraph.backends.ort.inside import tail_model
from acgraph.backends.ort.noise import FACTOR, measure_noise
from acgraph.backends.ort.session import Session, SessionSettings
from acgraph.backends.ort.verdict import EquivalenceResult, OutputEquivalence, join
from acgraph.errors import BackendError
from acgraph.ir import Array

_log = logging.getLogger(__name__)

#: The error of an output, and of a value inside, may be at most this many times the tolerance of
#: what the inputs change: a wrong cut in a part that hardly reaches them must not hide behind the
#: rest.
_CHANGE_FACTORS = {True: 100.0, False: 10.0}
#: Where rounding alone explains a larger error, or a larger share of wrong integers, that two
#: models agree within it says nothing.
_DROWNED = 0.1


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
        tolerance: The relative error allowed.
        settings: How to run both.
        in_float32: What a reference of 16-bit floats makes of the same inputs in float32, by their
            place: how far that is from what it makes of them itself is rounding, too.

    Returns:
        The verdict, and what it is based on.

    Raises:
        VerifyError: the two models have different inputs or outputs.
        BackendError: a model cannot be loaded, or the reference not be run.
    """
    found = collect(pair, feeds, settings)
    noise: dict[str, float] = {}
    reference = pair.masked.graph or pair.masked.source
    limits = {
        name: _limit(entry, tolerance, _CHANGE_FACTORS[found.is_output(name)])
        for name, entry in found.table.items()
    }
    doubtful = {
        name for name, entry in found.table.items() if _needs_noise(entry, tolerance, limits[name])
    }
    if doubtful:
        noise = measure_noise(
            reference, found.trials, settings, names=doubtful, shown=pair.inside.names
        )
        _add_precision(noise, found, in_float32 or {})
    verdicts = {
        name: _verdict(entry, limits[name], noise.get(name, 0.0))
        for name, entry in found.table.items()
    }
    inside = [verdict for name, verdict in verdicts.items() if not found.is_output(name)]
    is_telling = 2 * sum(not item.vacuous for item in inside) > len(inside)
    for name, entry in found.table.items():
        is_weak = verdicts[name].vacuous and not entry.is_vacuous
        if found.is_output(name) and is_telling and is_weak:
            remark = "the inputs change it less than rounding does; the values inside tell"
            verdicts[name] = replace(verdicts[name], vacuous=False, remark=remark)
    outputs = [
        _seen_inside(verdict, verdicts, pair, found, tolerance, settings)
        for name, verdict in verdicts.items()
        if found.is_output(name)
    ]
    inputs = len(found.trials)
    return join(outputs, inside, tolerance=tolerance, inputs=inputs, notes=found.notes), found


def _add_precision(
    noise: dict[str, float], found: Evidence, in_float32: Mapping[int, Mapping[str, Array]]
) -> None:
    for trial in found.trials:
        values = in_float32.get(trial.index, {})
        for name, expected in trial.expected.items():
            if name in values:
                with np.errstate(over="ignore"):
                    rounded = values[name].astype(expected.dtype)
                noise[name] = max(noise.get(name, 0.0), unlikeness(rounded, expected))


def _limit(entry: Comparison, tolerance: float, factor: float) -> float:
    """Return the relative error that is allowed whatever rounding does."""
    change = entry.change
    return tolerance if change is None else tolerance * min(1.0, factor * change)


def _needs_noise(entry: Comparison, tolerance: float, limit: float) -> bool:
    """Return whether a verdict depends on what rounding does."""
    if entry.reason or not entry.is_float:
        return bool(entry.reason)
    return 0 < limit < tolerance or not entry.max_rel_error <= limit


def _verdict(entry: Comparison, limit: float, noise: float) -> OutputEquivalence:
    floor = FACTOR * noise
    is_drowned = floor > _DROWNED or (entry.change is not None and entry.change <= floor)
    reason, remark = entry.reason, ""
    if entry.is_float and not reason and not entry.max_rel_error <= max(limit, floor):
        reason = f"relative error {entry.max_rel_error:.1e} above {max(limit, floor):.0e}"
    is_like = entry.unlike <= floor and not entry.is_hopeless
    if reason and is_like:
        reason = ""
    if entry.unlike > limit and not reason:
        measured = f"{noise:.1e}" if np.isfinite(noise) else "another shape"
        remark = f"what differs is rounding, which alone makes {measured} in the masked model"
    return OutputEquivalence(
        name=entry.name,
        max_abs_error=entry.max_abs_error,
        max_rel_error=entry.max_rel_error,
        passed=not reason,
        vacuous=entry.is_vacuous or is_drowned,
        reason=reason,
        noise=noise,
        remark=remark,
    )


def _seen_inside(
    verdict: OutputEquivalence,
    verdicts: Mapping[str, OutputEquivalence],
    pair: Pair,
    found: Evidence,
    tolerance: float,
    settings: SessionSettings,
) -> OutputEquivalence:
    """Judge an output by what its last operators start from, where they hide or exaggerate.

    Where these values are equal, and the last operators of the compact model make the outputs of
    the masked one of them, the outputs are the same function of the inputs.
    """
    starts = pair.inside.tails.get(verdict.name, ())
    inner = [name for name in starts if name not in found.trials[0].feeds]
    before = [verdicts[name] for name in inner if name in verdicts]
    if not inner or len(before) < len(inner) or not all(item.passed for item in before):
        return verdict
    is_telling = not all(item.vacuous for item in before)
    is_clear = verdict.passed and not verdict.remark
    if is_clear and not (verdict.vacuous and is_telling):
        return verdict
    is_same = _tail_agrees(verdict.name, starts, pair, found, tolerance, settings)
    if is_same is None or (is_clear and not is_same):
        return verdict
    if not is_same:
        reason = verdict.reason or "its last operators make another output of equal values"
        return replace(verdict, passed=False, reason=reason, remark="")
    where = ", ".join(f"'{item.name}'" for item in before)
    return replace(
        verdict,
        max_abs_error=max(item.max_abs_error for item in before),
        max_rel_error=max(item.max_rel_error for item in before),
        passed=True,
        vacuous=not is_telling,
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
    """Run the last operators of the compact model on what the masked one hands to its own.

    Returns:
        Whether they make the same of it; None where that cannot be tried.
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
            _log.info("the end of the network does not run alone: %s", error)
            return None
        entry.add(made.get(name), trial.expected[name])
    return not entry.reason and entry.max_rel_error <= tolerance
