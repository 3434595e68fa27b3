"""The law: the compact model computes what the masked model computes."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acgraph.backends.ort.bounds import integer_bounds
from acgraph.backends.ort.compare import Comparison
from acgraph.backends.ort.inputs import has_dynamic_batch, random_inputs
from acgraph.backends.ort.session import ModelSource, Session, SessionSettings
from acgraph.diagnostics import Location
from acgraph.errors import BackendError, UsageError, VerifyError
from acgraph.ir import Array, Model, read_model
from acgraph.ir.shapes import DEFAULT_IMAGE

_log = logging.getLogger(__name__)

#: Relative error up to which two models are the same function in float32.
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLaw:
    """How far one output of the compact model is from the masked model's.

    Attributes:
        name: Name of the output.
        max_abs_error: Largest difference over all inputs.
        max_rel_error: Largest, over all inputs, of the largest difference divided by the largest
            magnitude of the reference.
        passed: Whether that is within the tolerance; exact equality where it is not float.
        vacuous: The reference held one and the same number everywhere, or did not depend on the
            inputs: that the two agree says next to nothing.
        reason: Why it failed, empty where it passed.
    """

    name: str
    max_abs_error: float
    max_rel_error: float
    passed: bool
    vacuous: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LawResult:
    """The verdict over all outputs.

    Attributes:
        max_abs_error: The worst of any output; infinite where shapes differ or a NaN is found.
        max_rel_error: The same, relative.
        passed: Whether every output passed.
        vacuous: Whether no output could have failed, see ``OutputLaw.vacuous``.
        tolerance: The relative error that was allowed.
        inputs: How many sets of inputs were compared.
        per_output: Each output.
        notes: What could not be tried and why.
    """

    max_abs_error: float
    max_rel_error: float
    passed: bool
    vacuous: bool
    tolerance: float
    inputs: int
    per_output: tuple[OutputLaw, ...]
    notes: tuple[str, ...] = ()


def check_law(
    compact: ModelSource,
    masked: ModelSource,
    *,
    seeds: int = 3,
    inputs: Sequence[Mapping[str, Array]] | None = None,
    tolerance: float = TOLERANCE,
    dims: Mapping[str, int] | None = None,
    settings: SessionSettings | None = None,
) -> LawResult:
    """Run both models in ONNX Runtime on the same inputs and compare every output.

    Args:
        compact: The shrunk model.
        masked: The dense model with zeros, the reference.
        seeds: How many random inputs; with a dynamic batch one more of batch 2, with dynamic
            image sizes one more of another size.
        inputs: Further sets of inputs to compare on, by input name.
        tolerance: The relative error allowed per output.
        dims: Sizes of dynamic axes, by symbolic name or ``"input:axis"``.
        settings: How to run both.

    Raises:
        UsageError: nothing is asked to be compared, or the tolerance is no finite number.
        VerifyError: the two models have different inputs or outputs.
        BackendError: a model cannot be loaded or run.
    """
    if seeds < 0 or (seeds == 0 and not inputs):
        raise UsageError("nothing to compare on", hint="ask for at least 1 seed")
    if not 0 <= tolerance < np.inf:
        raise UsageError(f"tolerance {tolerance}", hint="give a finite number from 0")
    ours, reference = Session(compact, settings), Session(masked, settings)
    _check_signature(ours, reference)
    bounds = _bounds(masked, reference)
    table: dict[str, Comparison] = {}
    notes: list[str] = []
    count = 0
    for trial, feeds in _trials(reference, seeds, inputs or (), dims, bounds):
        try:
            expected = reference.run(feeds)
        except BackendError as error:
            if not trial:
                raise
            notes.append(f"{trial} not tried: the masked model cannot run it")
            _log.info("%s", error)
            continue
        count += 1
        try:
            made = ours.run(feeds)
        except BackendError as error:
            made = {}
            notes.append(f"the compact model cannot run {trial or 'an input'}: {error}")
        for name in sorted(made.keys() | expected.keys()):
            entry = table.setdefault(name, Comparison(name))
            entry.add(made.get(name), expected.get(name))
    results = tuple(_verdict(entry, tolerance) for entry in table.values())
    return LawResult(
        max_abs_error=max((item.max_abs_error for item in results), default=0.0),
        max_rel_error=max((item.max_rel_error for item in results), default=0.0),
        passed=all(item.passed for item in results),
        vacuous=all(item.vacuous for item in results),
        tolerance=tolerance,
        inputs=count,
        per_output=results,
        notes=tuple(notes),
    )


def _check_signature(ours: Session, reference: Session) -> None:
    """Refuse to compare models that do not take the same inputs and make the same outputs."""
    for what, mine, theirs in (
        ("input", ours.inputs, reference.inputs),
        ("output", ours.outputs, reference.outputs),
    ):
        names = {info.name: info for info in mine}
        others = {info.name: info for info in theirs}
        lost = sorted(names.keys() ^ others.keys())
        if lost:
            owner = ours if lost[0] in names else reference
            raise VerifyError(
                f"only {owner.source} has an {what} '{lost[0]}'",
                location=Location(model=ours.source),
                hint=f"compare two forms of one model; not compared with {reference.source}",
            )
        wrong = [name for name, info in names.items() if info.kind != others[name].kind]
        if wrong:
            name = wrong[0]
            raise VerifyError(
                f"{names[name].kind} instead of {others[name].kind}",
                location=Location(model=ours.source, value=name),
                hint=f"compare two forms of one model; not compared with {reference.source}",
            )


def _bounds(masked: ModelSource, session: Session) -> dict[str, int]:
    """Find how large the integer inputs may be, where the graph can be read."""
    kinds = [np.dtype(info.dtype).kind for info in session.inputs if info.dtype is not None]
    if not any(kind in "iu" for kind in kinds) or isinstance(masked, bytes):
        return {}
    if isinstance(masked, Model):
        return integer_bounds(masked)
    is_graph = Path(masked).suffix.lower() != ".ort"
    return integer_bounds(read_model(masked)) if is_graph else {}


def _trials(
    session: Session,
    seeds: int,
    inputs: Sequence[Mapping[str, Array]],
    dims: Mapping[str, int] | None,
    bounds: Mapping[str, int],
) -> Iterator[tuple[str, Mapping[str, Array]]]:
    """Yield sets of inputs; those with a name may be beyond what the reference can do."""
    for feeds in inputs:
        yield "", feeds
    for seed in range(seeds):
        yield "", random_inputs(session, seed=seed, dims=dims, bounds=bounds)
    if seeds and has_dynamic_batch(session):
        yield "batch 2", random_inputs(session, seed=seeds, batch=2, dims=dims, bounds=bounds)
    other = {
        f"{info.name}:{axis}": DEFAULT_IMAGE // 7 * 5
        for info in session.inputs
        for axis, size in enumerate(info.shape)
        if len(info.shape) == 4 and axis >= 2 and not isinstance(size, int)
    }
    if seeds and other and not dims:
        size = next(iter(other.values()))
        yield f"image size {size}", random_inputs(session, seed=seeds, dims=other, bounds=bounds)


def _verdict(entry: Comparison, tolerance: float) -> OutputLaw:
    reason = entry.reason
    if not reason and not entry.max_rel_error <= tolerance:
        reason = f"relative error {entry.max_rel_error:.1e} above {tolerance:.0e}"
    return OutputLaw(
        name=entry.name,
        max_abs_error=entry.max_abs_error,
        max_rel_error=entry.max_rel_error,
        passed=not reason,
        vacuous=entry.is_vacuous,
        reason=reason,
    )
