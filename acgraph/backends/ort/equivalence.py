"""The equivalence check: whether the compact model computes the same outputs as the masked one."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from acgraph.backends.ort.bounds import integer_bounds
from acgraph.backends.ort.evidence import Feeds, Form, Pair
from acgraph.backends.ort.inputs import HasInputs
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

#: Largest relative error of two equivalent models in float32.
TOLERANCE = 1e-4
#: Identifier of ONNX Runtime's own format, after the first four bytes of the file.
_ORT_MARK = b"ORTM"
#: 16-bit models with more bytes of constants are not compared in float32.
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

    If the graphs can be read, the outputs of layers are compared as well, and the inputs of
    operators at the end that hide differences, such as Sigmoid and ArgMax. A difference above the
    tolerance passes if rounding alone causes a similar difference in the masked model, which is
    measured. Models in 16-bit floats are also compared in float32.

    Args:
        compact: The shrunk model.
        masked: The dense model with zeros, the reference.
        seeds: Number of random inputs, of which the last has larger values. If the file has
            dynamic sizes, inputs of other sizes are added, see ``random_trials``.
        inputs: Further sets of inputs, by input name.
        tolerance: Largest allowed relative error of each output.
        sizes: Sizes of the random inputs; None uses those resolved for ``masked``.
        settings: Settings of both sessions.

    Raises:
        UsageError: There are no inputs to compare on, or the tolerance is not a finite number.
        VerifyError: The two models have different inputs or outputs.
        BackendError: A model cannot be loaded or run.
    """
    if seeds < 0 or (seeds == 0 and not inputs):
        raise UsageError("there are no inputs to compare on", hint="give at least 1 seed")
    if not 0 <= tolerance < np.inf:
        raise UsageError(f"tolerance is {tolerance}", hint="give a finite number of at least 0")
    settings = settings or SessionSettings()
    ours, reference = _form(compact), _form(masked)
    if reference.graph is not None and reference.graph.constant_bytes() > MAX_BYTES_IN_MEMORY:
        settings = replace(settings, prepack=False)
    given: list[Feeds] = [("", arrays) for arrays in inputs or ()]
    feeds = [*given, *trial_feeds(reference, seeds=seeds, sizes=sizes, settings=settings)]
    try:
        if _is_compared_in_float32(ours) and _is_compared_in_float32(reference):
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
    """Read the graph of a model; None if only ONNX Runtime can read it."""
    if isinstance(source, Model):
        return Form(source, source)
    try:
        if isinstance(source, bytes):
            is_ort = source[4:8] == _ORT_MARK
            return Form(source, None if is_ort else model_from_bytes(source))
        is_ort = Path(source).suffix.lower() == ".ort"
        return Form(source, None if is_ort else read_model(os.fspath(source)))
    except ImportModelError:
        return Form(source, None)  # ONNX Runtime may be able to read it, or reports the error


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
        seeds: Number of random inputs with the given sizes.
        sizes: Sizes of the inputs; None uses those resolved for the model.
        settings: Settings of the session.
    """
    graph = masked.graph
    if graph is not None and sizes is None:
        sizes = graph.sizes or resolve_sizes(graph)
    described = None if graph is None else GraphInputs.of(graph, sizes)
    session = described or Session(masked.source, settings, sizes=sizes)
    kinds = [np.dtype(info.dtype).kind for info in session.inputs if info.dtype is not None]
    has_integers = graph is not None and any(kind in "iu" for kind in kinds)
    bounds = integer_bounds(graph) if has_integers and graph is not None else {}
    return list(random_trials(session, seeds, bounds, _shape_test(graph, session)))


def _shape_test(graph: Model | None, session: HasInputs) -> Callable[[Mapping[str, Shape]], bool]:
    """Return a test whether shape inference fails for no more nodes than with the usual shapes."""

    def can_run(shapes: Mapping[str, Shape]) -> bool:
        if graph is None:
            return True
        usual = len(walk_shapes(graph, session.sizes.shapes).failures)
        return len(walk_shapes(graph, shapes).failures) <= usual

    return can_run


def _is_compared_in_float32(form: Form) -> bool:
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
    """Compare models in 16-bit floats in float32, and then in their own precision.

    In float32, the rounding that could hide a wrong weight is absent. In their own precision, the
    outputs may differ by the rounding of 16-bit floats.
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
        f"compared in float32; in 16-bit floats the outputs differ by {apart:.1e} due to rounding"
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
