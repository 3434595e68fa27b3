"""The law: the compact model computes what the masked model computes."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from acgraph.backends.ort.bounds import integer_bounds
from acgraph.backends.ort.evidence import LARGE, Feeds, Form, Pair
from acgraph.backends.ort.inputs import TakesInputs, has_dynamic_batch, random_inputs
from acgraph.backends.ort.judge import judge
from acgraph.backends.ort.session import (
    GraphInputs,
    ModelSource,
    Session,
    SessionSettings,
)
from acgraph.backends.ort.verdict import LawResult, OutputLaw
from acgraph.errors import BackendError, ImportModelError, UsageError
from acgraph.ir import Array, Model, read_model
from acgraph.ir.precision import computes_in_half, widened
from acgraph.ir.raw import model_from_bytes
from acgraph.ir.shapes import DEFAULT_IMAGE

__all__ = ["TOLERANCE", "LawResult", "OutputLaw", "check_law"]

#: Relative error up to which two models are the same function in float32.
TOLERANCE = 1e-4
#: The last random inputs are so many times as large.
_ENLARGED = 10
#: Files in ONNX Runtime's own format say so behind their first four bytes.
_ORT_MARK = b"ORTM"
#: Models with more bytes of constants are not computed in float32 as well.
_WIDENED_BYTES = 1 << 29


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

    Where the graphs are at hand, so are the results of their layers, and what goes into the
    operators at the end that hide differences, as Sigmoid and ArgMax do. A difference above the
    tolerance passes where rounding alone makes one like it in the masked model, which is measured.
    Models of 16-bit floats are compared in float32, too.

    Args:
        compact: The shrunk model.
        masked: The dense model with zeros, the reference.
        seeds: How many random inputs, the last of larger numbers; with a dynamic batch one more
            of batch 2, with dynamic image sizes one more of another size.
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
    settings = settings or SessionSettings()
    ours, reference = _form(compact), _form(masked)
    feeds = _feeds(reference, seeds, inputs or (), dims, settings)
    if _is_widened(ours) and _is_widened(reference):
        return _judge_half(ours, reference, feeds, tolerance, settings)
    return judge(Pair.of(ours, reference, feeds), feeds, tolerance=tolerance, settings=settings)[0]


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


def _feeds(
    masked: Form,
    seeds: int,
    inputs: Sequence[Mapping[str, Array]],
    dims: Mapping[str, int] | None,
    settings: SessionSettings,
) -> list[Feeds]:
    described = None if masked.graph is None else GraphInputs.of(masked.graph)
    session = described or Session(masked.source, settings)
    kinds = [np.dtype(info.dtype).kind for info in session.inputs if info.dtype is not None]
    has_integers = masked.graph is not None and any(kind in "iu" for kind in kinds)
    bounds = integer_bounds(masked.graph) if has_integers and masked.graph is not None else {}
    return list(_trials(session, seeds, inputs, dims, bounds))


def _trials(
    session: TakesInputs,
    seeds: int,
    inputs: Sequence[Mapping[str, Array]],
    dims: Mapping[str, int] | None,
    bounds: Mapping[str, int],
) -> Iterator[Feeds]:
    """Yield sets of inputs; those with a name may be beyond what the reference can do."""
    for feeds in inputs:
        yield "", feeds
    for seed in range(seeds):
        arrays = random_inputs(session, seed=seed, dims=dims, bounds=bounds)
        if 0 < seed == seeds - 1:
            yield LARGE, {name: _enlarged(array) for name, array in arrays.items()}
        else:
            yield "", arrays
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


def _enlarged(array: Array) -> Array:
    """Wake filters whose bias silences them on numbers around 1."""
    return (array * _ENLARGED).astype(array.dtype) if array.dtype.kind == "f" else array


def _is_widened(form: Form) -> bool:
    if form.graph is None or not computes_in_half(form.graph):
        return False
    return sum(array.nbytes for array in form.graph.constants().values()) <= _WIDENED_BYTES


def _judge_half(
    compact: Form,
    masked: Form,
    feeds: Sequence[Feeds],
    tolerance: float,
    settings: SessionSettings,
) -> LawResult:
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
