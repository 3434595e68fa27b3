"""Accuracy and agreement against numbers counted by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from acgraph.backends.ort.accuracy import accuracy, agreement
from acgraph.backends.ort.session import Session
from acgraph.data import ArrayDataset
from acgraph.errors import DataError

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
        (flat, "holds no classes"),
        (one, "5 examples give an output of shape"),
        (two, "the model has 2 inputs"),
    ):
        with pytest.raises(DataError, match=message):
            accuracy(session, _data())
