"""The equivalence check: the compact model computes what the masked model computes."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from acgraph.backends.ort.bounds import integer_bounds
from acgraph.backends.ort.evidence import Feeds, Form, Pair
from acgraph.backends.ort.inputs import TakesInputs
from acgraph.backends.ort.judge import judge
from acgraph.backends.ort.session import (
    MAX_BYTES_IN_MEMORY,
    GraphInputs,
    ModelSource,
    Session,
    SessionSettings,
)
from acgraph.backends.ort.trials import random_trials
from acgraph.backends.ort.verdict import EquivalenceResult, OutputEquivalence
from acgraph.errors import BackendError, ImportModelError, UsageError
from acgraph.ir import Array, InputSizes, Model, read_model, resolve_sizes
from acgraph.ir.model import Shape
from acgraph.ir.precision import computes_in_half, widened
from acgraph.ir.raw import model_from_bytes
from acgraph.ir.shapes import walk_shapes

__all__ = ["TOLERANCE", "EquivalenceResult", "OutputEquivalence", "check_equivalence"]

#: Relative error up to which two models are the same function in float32.
TOLERANCE = 1e-4
#: Files in ONNX Runtime's own format say so behind their first four bytes.
_ORT_MARK = b"ORTM"
#: Models with more bytes of constants are not computed in float32 as well.
_WIDENED_BYTES = 1 << 29


def check_equivalence(
    compact: ModelSource,
    masked: ModelSource,
    *,
    seeds: int = 3,
    inputs: Sequence[Mapping[str, Array]] | None = None,
    tolerance: float = TOLERANCE,
    sizes: InputSizes | None = None,
    settings: SessionSettings | None = None,
) -> EquivalenceResult:
    """Run both models in ONNX Runtime on the same inputs and compare every output.

    Where the graphs are at hand, so are the results of their layers, and what goes into the
    operators at the end that hide differences, as Sigmoid and ArgMax do. A difference above the
    tolerance passes where rounding alone makes one like it in the masked model, which is measured.
    Models of 16-bit floats are compared in float32, too.

    Args:
        compact: The shrunk model.
        masked: The dense model with zeros, the reference.
        seeds: How many random inputs, the last of larger numbers; where the file leaves sizes
            open, more of other ones, see ``random_trials``.
        inputs: Further sets of inputs to compare on, by input name.
        tolerance: The relative error allowed per output.
        sizes: Of the random inputs; by default those that are settled for ``masked``.
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
    settings = settings or SessionSettings()
    ours, reference = _form(compact), _form(masked)
    if reference.graph is not None and reference.graph.constant_bytes() > MAX_BYTES_IN_MEMORY:
        settings = replace(settings, prepack=False)
    given: list[Feeds] = [("", arrays) for arrays in inputs or ()]
    feeds = [*given, *trial_feeds(reference, seeds=seeds, sizes=sizes, settings=settings)]
    try:
        if _is_widened(ours) and _is_widened(reference):
            return _judge_half(ours, reference, feeds, tolerance, settings)
        pair = Pair.of(ours, reference, feeds)
        return judge(pair, feeds, tolerance=tolerance, settings=settings)[0]
    except BackendError as error:
        used = sizes or (None if reference.graph is None else reference.graph.sizes)
        remark = "" if used is None else used.remark()
        if not remark:
            raise
        found = error.diagnostic
        raise BackendError(found.message, location=found.location, hint=remark) from error


def _form(source: ModelSource) -> Form:
    """Find the graph of a model; one that cannot be read is run as it is."""
    if isinstance(source, Model):
        return Form(source, source)
    try:
        if isinstance(source, bytes):
            is_ort = source[4:8] == _ORT_MARK
            return Form(source, None if is_ort else model_from_bytes(source))
        is_ort = Path(source).suffix.lower() == ".ort"
        return Form(source, None if is_ort else read_model(os.fspath(source)))
    except ImportModelError:
        return Form(source, None)  # ONNX Runtime may well read it, or say what is wrong


def trial_feeds(
    masked: Form,
    *,
    seeds: int = 3,
    sizes: InputSizes | None = None,
    settings: SessionSettings | None = None,
) -> list[Feeds]:
    """Make random inputs of a model, see ``random_trials``.

    Args:
        masked: The model.
        seeds: How many at the sizes of the run.
        sizes: Of the inputs; by default those that are settled for the model.
        settings: How to run the model.
    """
    graph = masked.graph
    if graph is not None and sizes is None:
        sizes = graph.sizes or resolve_sizes(graph)
    described = None if graph is None else GraphInputs.of(graph, sizes)
    session = described or Session(masked.source, settings, sizes=sizes)
    kinds = [np.dtype(info.dtype).kind for info in session.inputs if info.dtype is not None]
    has_integers = graph is not None and any(kind in "iu" for kind in kinds)
    bounds = integer_bounds(graph) if has_integers and graph is not None else {}
    return list(random_trials(session, seeds, bounds, _judge_of_shapes(graph, session)))


def _judge_of_shapes(
    graph: Model | None, session: TakesInputs
) -> Callable[[Mapping[str, Shape]], bool]:
    """Return what says whether no more speaks against other shapes than against usual ones."""

    def can_run(shapes: Mapping[str, Shape]) -> bool:
        if graph is None:
            return True
        usual = len(walk_shapes(graph, session.sizes.shapes).failures)
        return len(walk_shapes(graph, shapes).failures) <= usual

    return can_run


def _is_widened(form: Form) -> bool:
    if form.graph is None or not computes_in_half(form.graph):
        return False
    return form.graph.constant_bytes() <= _WIDENED_BYTES


def _judge_half(
    compact: Form,
    masked: Form,
    feeds: Sequence[Feeds],
    tolerance: float,
    settings: SessionSettings,
) -> EquivalenceResult:
    """Compare models of 16-bit floats in float32, and then as they are.

    In float32 both compute the same function of their weights, without the rounding that would
    hide a wrong one. As they are, their outputs may be apart by what that rounding makes.
    """
    wide_feeds = [(label, _float32(arrays)) for label, arrays in feeds]
    try:
        pair = Pair.of(_widen(compact), _widen(masked), wide_feeds)
        exact, found = judge(pair, wide_feeds, tolerance=tolerance, settings=settings)
    except BackendError as error:
        pair = Pair.of(compact, masked, feeds)
        result, _ = judge(pair, feeds, tolerance=tolerance, settings=settings)
        note = f"not compared in float32: {error.diagnostic.message}"
        return replace(result, notes=(*result.notes, note))
    result, _ = judge(
        Pair(compact, masked),
        feeds,
        tolerance=tolerance,
        settings=settings,
        in_float32={trial.index: trial.expected for trial in found.trials},
    )
    apart = max((item.max_rel_error for item in result.per_output), default=0.0)
    note = (
        f"compared in float32; in their own 16 bits the outputs are {apart:.1e} apart, by rounding"
    )
    if not result.passed or not exact.passed:
        return result if exact.passed else exact
    return replace(exact, notes=(*exact.notes, note))


def _widen(form: Form) -> Form:
    if form.graph is None:
        return form
    model = widened(form.graph)
    return Form(model, model)


def _float32(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in arrays.items()
    }
