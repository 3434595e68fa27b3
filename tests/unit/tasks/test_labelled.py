"""Figures with labels, against numbers worked out by hand."""

import numpy as np
import pytest

from acgraph.diagnostics import Location
from acgraph.errors import DataError
from acgraph.tasks import OutputTask, check_fit
from acgraph.tasks.labelled import Correctness

RNG = np.random.default_rng(0)


def task(kind, **options):
    return OutputTask(output="out", kind=kind, **options)


def judged(tasks, outputs, labels):
    result = Correctness(tasks)
    result.add(outputs, labels)
    return result


def test_accuracy_of_numbers_one_hot_rows_and_positions():
    scores = np.array([[0.1, 0.9], [0.7, 0.3]])
    for labels in (np.array([1, 1]), np.array([[1], [1]]), np.array([[0.0, 1], [0, 1]])):
        assert judged([task("classification", axis=1)], [scores], labels).value == 0.5
    steps = RNG.standard_normal((2, 5, 3))
    found = judged([task("classification", axis=2)], [steps], steps.argmax(2))
    assert found.result.text == "accuracy 100.0 %"


def test_mean_overlap_leaves_out_what_is_not_judged():
    scores = np.zeros((1, 2, 2, 2))
    scores[0, 1] = [[1, 1], [-1, -1]]
    labels = np.array([[[1, 255], [0, 1]]])
    found = judged([task("segmentation", axis=1, shape=(1, 2, 2, 2))], [scores], labels)
    assert found.value == pytest.approx((1 / 2 + 1 / 2) / 2)
    mask = task("segmentation", axis=1, shape=(1, 1, 2, 2), form="sigmoid")
    chances = np.array([[[[0.9, 0.9], [0.1, 0.1]]]])
    assert judged([mask], [chances], np.array([[[7, 0], [0, 0]]])).value == 0.5
    lower = np.array([[[0, 0], [3, 3]]])
    assert judged([mask], [chances], lower).value == 0


def test_character_errors():
    steps = np.eye(4)[np.array([[1, 0, 2, 2], [3, 0, 0, 1]])]
    labels = np.array([[1, 2, -1], [3, 2, 1]])
    found = judged([task("ctc", axis=2, blank=0)], [steps], labels)
    assert found.result.numbers == {"character error": 1 / 5, "correct sequences": 0.5}
    assert found.value == pytest.approx(0.8)


def test_real_numbers():
    labels = RNG.standard_normal((50, 2))
    off = labels + 0.1 * labels.std(axis=0)
    found = judged([task("regression", axis=1)], [off], labels)
    assert found.result.numbers["normalised error"] == pytest.approx(0.1)
    assert judged([task("embedding", axis=1)], [3 * labels], labels).value == pytest.approx(1)


def test_labels_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"do not fit output 'out' .*maps of class numbers"):
        judged([task("segmentation", axis=1)], [np.zeros((1, 2, 4, 4))], np.zeros((1, 3, 3)))


def test_average_precision():
    pytest.importorskip("pycocotools")
    head = np.zeros((2, 6, 40))
    head[:, :4] = np.array([100, 100, 20, 20])[:, None]
    head[:, :4, 3] = [50, 60, 20, 40]
    head[:, 4, 3] = 0.8
    labels = np.full((2, 2, 5), -1.0)
    labels[:, 0] = [0, 40, 40, 60, 80]
    tasks = [task("detection", axis=1, part="head")]
    assert judged(tasks, [head], labels).value == pytest.approx(1)
    shifted = head.copy()
    shifted[:, 0, 3] += 4  # IoU 2/3
    found = judged(tasks, [shifted], labels)
    assert found.value == pytest.approx(0.4)
    assert found.result.text == "mAP 40.0 %, at IoU 0.5 100.0 %"
    other_class = head.copy()
    other_class[:, 4:] = other_class[:, [5, 4]]
    assert judged(tasks, [other_class], labels).value == 0


def test_boxes_relative_to_anchors_cannot_be_judged_by_labels():
    pytest.importorskip("pycocotools")
    parts = [task("detection", axis=2, part="boxes", shape=(1, 9, 4)),
             task("detection", axis=2, part="scores", shape=(1, 9, 3))]  # fmt: skip
    outputs = [RNG.standard_normal((1, 9, 4)), np.full((1, 9, 3), 0.9)]
    with pytest.raises(DataError, match="relative to anchors"):
        judged(parts, outputs, np.zeros((1, 1, 5)))


def test_without_its_library_average_precision_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.import_module", lambda name: exec("raise ImportError"))
    with pytest.raises(DataError, match="pycocotools, which is not installed"):
        Correctness([task("detection", axis=1, part="head")])


@pytest.mark.parametrize(
    ("kind", "shape", "axis", "labels"),
    [
        ("classification", (1, 6), 1, np.zeros(3, np.int64)),
        ("classification", (1, 6), 1, np.zeros((3, 6))),
        ("classification", (1, 9, 6), 2, np.zeros((3, 9), np.int64)),
        ("segmentation", (1, 6, 4, 4), 1, np.full((3, 4, 4), 255)),
        ("segmentation", (1, 1, 4, 4), 1, np.full((3, 1, 4, 4), 7)),
        ("ctc", (1, 9, 6), 2, np.full((3, 5), -1)),
        ("regression", (1, 6), 1, np.zeros((3, 6))),
        ("regression", (1, 1), 1, np.zeros(3)),
        ("detection", (1, 6, 40), 1, np.zeros((3, 2, 5))),
    ],
)
def test_labels_that_fit_and_that_do_not(kind, shape, axis, labels):
    outputs = [task(kind, shape=shape, axis=axis)]
    check_fit(outputs, labels, Location(model="y.npz"))
    with pytest.raises(DataError, match=rf"y.npz: labels .* treated as {kind}"):
        check_fit(outputs, np.zeros((3, 7, 2, 2, 2)), Location(model="y.npz"))


def test_labels_of_classes_that_there_are_not():
    outputs = [task("ctc", shape=(1, 9, 6), axis=2)]
    with pytest.raises(DataError, match="labels run to 6, but the model's classes are 0 to 5"):
        check_fit(outputs, np.full((3, 5), 6), Location())
