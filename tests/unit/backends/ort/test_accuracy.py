"""Accuracy and agreement against numbers counted by hand."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from acgraph.backends.ort.accuracy import accuracy, agreement, compare
from acgraph.backends.ort.session import Session
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import TrainConfig
from acgraph.data import ArrayDataset
from acgraph.errors import DataError
from acgraph.ir import model_from_proto, resolve_sizes
from acgraph.tasks import OutputTask

Parse = Callable[[str], bytes]

#: The input is the logits; the label of each row is in the last column.
LOGITS = np.array([[3, 1, 0], [0, 2, 1], [0, 1, 5], [9, 8, 7], [1, 2, 3]], np.float32)
LABELS = np.array([0, 1, 2, 2, 2], np.int64)


def _data(x: np.ndarray = LOGITS, y: np.ndarray | None = LABELS) -> ArrayDataset:
    return ArrayDataset(x, y)


def _identity(parse: Parse, batch: int | str) -> Session:
    return Session(parse(f"g (float[{batch},3] x) => (float[{batch},3] y) {{ y = Identity(x) }}"))


@pytest.mark.parametrize("batch", ["N", 1, 2, 4])
def test_four_of_five_are_right_whatever_batch_the_file_fixes(
    parse: Parse, batch: int | str
) -> None:
    assert accuracy(_identity(parse, batch), _data()) == pytest.approx(4 / 5)


def test_more_examples_than_one_batch(parse: Parse) -> None:
    data = _data(np.tile(LOGITS, (40, 1)), np.tile(LABELS, 40))
    assert accuracy(_identity(parse, "N"), data) == pytest.approx(4 / 5)
    assert accuracy(_identity(parse, 7), data) == pytest.approx(4 / 5)


def test_a_limit_spreads_over_the_data(parse: Parse) -> None:
    x = np.tile(LOGITS[:1], (10, 1))
    y = np.array([0] * 5 + [1] * 5, np.int64)
    assert accuracy(_identity(parse, "N"), _data(x, y), limit=4) == 0.5


def test_integer_outputs_are_classes_themselves(parse: Parse) -> None:
    session = Session(
        parse("g (float[N,3] x) => (int64[N] y) { y = ArgMax <axis = 1, keepdims = 0> (x) }")
    )
    assert accuracy(session, _data()) == pytest.approx(4 / 5)


def test_trailing_axes_of_size_one_do_not_matter(parse: Parse) -> None:
    session = Session(
        parse(
            "g (float[N,3] x) => (float[N,3,1,1] y)<int64[4] s = {0, 3, 1, 1}>{ y = Reshape(x, s) }"
        )
    )
    assert accuracy(session, _data()) == pytest.approx(4 / 5)


def test_agreement_needs_no_labels(parse: Parse) -> None:
    last = Session(
        parse("g (float[N,3] x) => (float[N,3] y)<float[3] k = {0, 0, 2}> { y = Add(x, k) }")
    )
    # rows 0 (3 1 2), 1 (0 2 3), 3 (9 8 9: the first wins): only row 1 changes
    data = _data(y=None)
    assert agreement(last, _identity(parse, "N"), data) == pytest.approx(4 / 5)
    with pytest.raises(DataError, match="no labels"):
        accuracy(last, data)


@pytest.mark.parametrize(("ours", "theirs"), [(1, "N"), ("N", 2), (2, 3)])
def test_files_that_fix_different_batches_are_compared(
    parse: Parse, ours: int | str, theirs: int | str
) -> None:
    data = _data(np.tile(LOGITS, (3, 1)), None)
    found = compare(_identity(parse, ours), _identity(parse, theirs), data)
    assert found.value == 1.0


#: What no class can be read from: the declared output, and the tail of the graph that makes it.
REGRESSORS = {
    "one column": ("float[N,1] y", "ReduceSum <keepdims = 1> (b, one)"),
    "no column": ("float[N] y", "ReduceSum <keepdims = 0> (b, one)"),
    "an image": ("float[N,1,1,3] y", "Reshape(b, s)"),
}
no_classes = pytest.mark.parametrize("form", REGRESSORS.values(), ids=REGRESSORS.keys())


def _regressor(parse: Parse, form: tuple[str, str], offset: float) -> bytes:
    """Make a linear function of the input with an offset to one column."""
    constants = (
        f"float[3] k = {{0, 0, {offset}}}, int64[1] one = {{1}}, int64[4] s = {{0, 1, 1, 3}}"
    )
    return parse(f"g (float[N,3] x) => ({form[0]}) <{constants}> {{ b = Add(x, k) y = {form[1]} }}")


@no_classes
def test_agreement_without_classes_is_the_variance_explained(
    parse: Parse, form: tuple[str, str]
) -> None:
    reference = Session(_regressor(parse, form, 0.0))
    ours = Session(_regressor(parse, form, 1.5))
    data = _data(y=None)
    assert agreement(reference, reference, data) == 1.0
    assert agreement(Session(_regressor(parse, form, 1e6)), reference, data) == 0.0
    made = reference.run({"x": LOGITS})["y"].astype(np.float64)
    error = np.square(ours.run({"x": LOGITS})["y"] - made).mean() / made.var()
    assert 0 < error < 1
    assert agreement(ours, reference, data) == pytest.approx(1 - error)


@no_classes
def test_agreement_in_training_follows_the_same_rule(parse: Parse, form: tuple[str, str]) -> None:
    ours, reference = (_regressor(parse, form, offset) for offset in (1.5, 0.0))
    data = _data(np.tile(LOGITS, (30, 1)), None)
    models = [model_from_proto(onnx.load_from_string(text)) for text in (ours, reference)]
    trainer = TorchTrainer(models[0], None, teacher=models[1], config=TrainConfig(batch_size=7))
    expected = agreement(Session(ours), Session(reference), data)
    assert 0 < expected < 1
    assert trainer.evaluate(data) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("batch", ["N", 2])
def test_agreement_looks_at_every_output_where_there_are_no_classes(
    parse: Parse, batch: int | str
) -> None:
    text = (
        "g (float[{0},3] x) => (float[{0},1] y, float[{0},3] z) "
        "<float[3] k = {{0, 0, {1}}}, int64[1] one = {{1}}> "
        "{{ y = ReduceSum <keepdims = 1> (x, one) z = Add(x, k) }}"
    )
    reference, ours = (Session(parse(text.format(batch, k))) for k in (0.0, 1.5))
    data = _data(y=None)
    error = min(1, np.square(1.5) / LOGITS.astype(np.float64)[:, 2].var()) / 3
    assert error > 0
    assert agreement(ours, reference, data) == pytest.approx(1 - error / 2)


def test_what_holds_no_classes_is_refused(parse: Parse) -> None:
    flat = Session(
        parse(
            "g (float[N,3] x) => (float[N] y)<int64[1] a = {1}>"
            "{ y = ReduceMean <axes = [1], keepdims = 0> (x) }"
        )
    )
    one = Session(parse("g (float[N,3] x) => (float[1,3] y){ y = ReduceMean <axes = [0]> (x) }"))
    two = Session(parse("g (float[N,3] x, float[N,3] z) => (float[N,3] y){ y = Add(x, z) }"))
    for session, message in (
        (flat, "has no classes"),
        (one, "the output for 5 examples has shape"),
        (two, "no array for input 'z', only for x"),
    ):
        with pytest.raises(DataError, match=message):
            accuracy(session, _data())


def test_one_column_is_no_classifier_that_is_always_right(parse: Parse) -> None:
    session = Session(
        parse("g (float[N,3] x) => (float[N,1] y)<int64[1] a = {1}>{ y = ReduceSum (x, a) }")
    )
    with pytest.raises(DataError, match="has no classes"):
        accuracy(session, _data(y=np.zeros(5, np.int64)))


@pytest.mark.parametrize("label", [-1, 3, 90])
def test_labels_of_classes_that_the_model_lacks_are_refused(parse: Parse, label: int) -> None:
    labels = LABELS.copy()
    labels[2] = label
    with pytest.raises(DataError, match="the model's classes are 0 to 2"):
        accuracy(_identity(parse, "N"), _data(y=labels))


def test_a_batch_that_only_constants_bind_is_obeyed(parse: Parse) -> None:
    proto = parse(
        "g (float[N,1,3] x) => (float[M,3] y) <int64[2] s = {1, -1}, float[3,3] w = "
        "{1,0,0,0,1,0,0,0,1}> { a = Reshape(x, s) y = MatMul(a, w) }"
    )
    sizes = resolve_sizes(model_from_proto(onnx.ModelProto.FromString(proto)))
    session = Session(proto, sizes=sizes)
    assert accuracy(session, _data(LOGITS[:, None])) == pytest.approx(4 / 5)
    assert agreement(session, session, _data(LOGITS[:, None], None)) == 1.0


def test_examples_that_fill_a_batch_are_dropped_along_the_batch_axis_of_the_task(
    parse: Parse,
) -> None:
    text = "g (float[{0},2] x) => (float[2,{0}] y)<float[2,1] k = {{{1}}}>"
    text += "{{ t = Transpose(x)  y = Mul(t, k) }}"
    data = ArrayDataset(np.array([[1, 2], [3, -4], [5, 9]], np.float32))
    tasks = [OutputTask(output="y", kind="imitate", axis=0, batch_axis=1)]
    values = []
    for batch in ("N", 2):
        ours, reference = (Session(parse(text.format(batch, k))) for k in ("1, 0.5", "1, 1"))
        values.append(compare(ours, reference, data, tasks=tasks).value)
    assert 0 < values[0] < 1
    assert values[1] == pytest.approx(values[0])
