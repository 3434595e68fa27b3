"""Figures against numbers worked out by hand."""

import numpy as np
import pytest

from acgraph.errors import DataError
from acgraph.tasks import Agreement, OutputTask
from acgraph.tasks.boxes import box_form, pairwise_iou, suppress_overlaps
from acgraph.tasks.sequences import blank_of, decode, edits

RNG = np.random.default_rng(0)


def task(kind, **options):
    return OutputTask(output="out", kind=kind, **options)


def judged(tasks, ours, theirs):
    result = Agreement(tasks)
    result.add(ours, theirs)
    return result


def test_cosine():
    theirs = np.array([[1.0, 0.0], [0.0, 2.0]])
    ours = np.array([[1.0, 1.0], [0.0, 5.0]])
    found = judged([task("embedding", axis=1)], [ours], [theirs])
    assert found.value == pytest.approx((np.sqrt(0.5) + 1) / 2)
    assert found.results[0].text == "mean cosine 0.8536"
    broken = judged([task("embedding", axis=1)], [np.full_like(ours, np.nan)], [theirs])
    assert broken.value == 0


def test_normalised_error_is_on_the_scale_of_each_coordinate():
    theirs = np.stack([np.array([0.0, 2.0] * 10), np.array([0.0, 2000.0] * 10)], axis=1)
    off = theirs + np.array([0.1, 0.0])
    found = judged([task("regression", axis=1)], [off], [theirs])
    assert found.results[0].numbers["normalised error"] == pytest.approx(0.05)
    assert found.value == pytest.approx(0.95)
    assert found.results[0].text == "normalised error 5.0 %"
    shifted = judged([task("regression", axis=1)], [theirs + np.array([3.0, 3000.0])], [theirs])
    assert shifted.value == 0


def test_every_channel_counts_as_much_as_another():
    theirs = RNG.standard_normal((40, 3, 2, 2)) * np.array([1, 100, 10_000])[:, None, None]
    lost = theirs.copy()
    lost[:, 0] = theirs[:, 0].mean()
    assert judged([task("imitate", axis=1)], [lost], [theirs]).value == pytest.approx(2 / 3)
    assert judged([task("imitate")], [lost], [theirs]).value > 0.99


def test_a_dead_channel_takes_the_scale_of_the_others():
    theirs = RNG.standard_normal((40, 3))
    theirs[:, 0] = 0
    ours = theirs.copy()
    ours[:, 0] += 1e-3
    assert judged([task("imitate", axis=1)], [ours], [theirs]).value > 0.999


def test_positive_and_negative_decisions_have_equal_weight():
    theirs = np.zeros((10, 10))
    theirs[0, 0] = 0.9
    always_negative = judged([task("classification", form="sigmoid")], [theirs * 0], [theirs])
    assert always_negative.value == 0.5
    assert "0.0 % of 1 positive" in always_negative.results[0].text


def test_classes_of_positions():
    theirs = RNG.standard_normal((2, 5, 4))
    ours = theirs.copy()
    ours[0, 0] = -ours[0, 0]
    assert judged([task("classification", axis=2)], [ours], [theirs]).value == 0.9


def test_mean_overlap_of_maps():
    theirs, ours = (np.zeros((1, 2, 2, 2)) for _ in range(2))
    theirs[0, 1] = [[1, 1], [-1, -1]]  # class 1 in the upper row
    ours[0, 1] = [[1, -1], [-1, -1]]
    found = judged([task("segmentation", axis=1, shape=(1, 2, 2, 2))], [ours], [theirs])
    assert found.value == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_a_mask_is_judged_by_what_it_marks():
    mask = task("segmentation", axis=1, shape=(1, 1, 4, 4), form="sigmoid")
    theirs = np.zeros((1, 1, 4, 4))
    theirs[0, 0, 0] = 0.9
    ours = theirs.copy()
    ours[0, 0, 0, :2] = 0.1
    assert judged([mask], [ours], [theirs]).value == pytest.approx(0.5)
    assert judged([mask], [theirs * 0], [theirs]).value == 0
    nothing = judged([mask], [theirs * 0], [theirs * 0])
    assert nothing.value == 1
    assert "masks are empty" in nothing.results[0].text


def test_sequences():
    assert decode(np.array([[0, 1, 1, 0, 1, 2, 2]]), 0) == [(1, 1, 2)]
    assert edits((1, 1, 2), (1, 2)) == 1
    assert blank_of(np.array([[3, 3, 1]]), 4) == 3
    steps = np.array([[1, 0, 2], [0, 0, 1]])
    theirs = np.eye(4)[steps]
    ours = theirs.copy()
    ours[1, 2] = np.eye(4)[3]
    for axis in (0, 1):
        each = [x if axis == 0 else x.transpose(1, 0, 2) for x in (ours, theirs)]
        found = judged([task("ctc", axis=2, batch_axis=axis)], [each[0]], [each[1]])
        assert found.results[0].numbers == {"equal sequences": 0.5, "character error": 1 / 3}
        assert found.value == pytest.approx(2 / 3)
    silent = judged([task("ctc", axis=2)], [theirs[:, :0]], [theirs[:, :0]])
    assert "decodes nothing" in silent.results[0].text


def test_boxes():
    assert box_form(np.array([[1, 2, 5, 9.0]])) == "corners"
    assert box_form(np.array([[50, 60, 5, 9.0]])) == "centre"
    assert box_form(np.array([[0.1, -0.3, 0.2, -0.4], [-1, 0, 2, 1]])) == "encoded"
    first = np.array([[0, 0, 2, 2.0]])
    assert pairwise_iou(first, np.array([[1, 0, 3, 2.0], [5, 5, 6, 6]])).tolist() == [[1 / 3, 0]]
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60.0]])
    kept = suppress_overlaps(boxes, np.array([0.5, 0.9, 0.8, 0.3]), np.array([0, 0, 1, 0]))
    assert kept.tolist() == [1, 2, 3]


HEAD = task("detection", axis=1, part="head", shape=(2, 6, 40))


def heads(shift=0.0):
    """Two images with three objects each of two classes, on 40 anchors, centre and size."""
    head = np.zeros((2, 6, 40))
    head[:, :4] = np.array([100, 100, 20, 20])[:, None]
    for image in range(2):
        for number in range(3):
            head[image, :4, 5 * number] = [50 + 60 * number + shift, 50 + shift, 30, 40]
            head[image, 4 + number % 2, 5 * number] = 0.8
    return head


def test_detections_that_stay_and_new_ones():
    theirs, ours = heads(), heads(shift=2)
    same = judged([HEAD], [ours], [theirs])
    assert same.value == 1
    assert "100.0 % of 6 detections above 0.25 kept, 0.0 % new (IoU 0.5)" in same.results[0].text
    ours[0, 4, 0] = 0  # lost
    ours[1, 4, 30] = 0.7  # new, where none was
    found = judged([HEAD], [ours], [theirs])
    assert found.results[0].numbers == {"detections kept": 5 / 6, "new detections": 1 / 6}
    assert found.value == pytest.approx(5 / 6)
    assert judged([HEAD], [heads(shift=40)], [theirs]).value == 0
    blind = judged([HEAD], [theirs * np.array([1, 1, 1, 1, 0, 0])[:, None]], [theirs])
    assert blind.value == 0


def test_a_detector_that_finds_nothing_says_so():
    nothing = heads()
    nothing[:, 4:] = 0
    found = judged([HEAD], [nothing], [nothing])
    assert "detects nothing above 0.25" in found.results[0].text


def test_objectness_multiplies_the_classes():
    boxes = heads()[:, :4].transpose(0, 2, 1)
    scores = heads()[:, 4:].transpose(0, 2, 1)
    sure = np.concatenate([boxes, scores.max(2, keepdims=True) > 0, scores], axis=2)
    unsure = np.concatenate([boxes, scores[..., :1] * 0 + 0.1, scores], axis=2)
    head = task("detection", axis=2, part="objectness head")
    assert judged([head], [unsure], [sure]).results[0].numbers["detections kept"] == 0
    assert judged([head], [sure], [sure]).value == 1


def test_boxes_relative_to_anchors_are_matched_by_anchor():
    boxes = RNG.standard_normal((2, 40, 4))
    scores = np.tile([0.95, 0.05], (2, 40, 1))
    scores[:, :4] = [0.1, 0.9]
    parts = [
        OutputTask(output="loc", kind="detection", part="boxes", axis=2, shape=(2, 40, 4)),
        OutputTask(output="conf", kind="detection", part="scores", axis=2, shape=(2, 40, 2)),
    ]
    ours = scores.copy()
    ours[:, 0] = [0.9, 0.1]
    found = judged(parts, [boxes, ours], [boxes, scores])
    assert len(found.results) == 1
    (result,) = found.results
    assert (result.name, result.numbers["detections kept"]) == ("loc, conf", 0.75)
    assert "by anchor" in result.text
    assert found.value == pytest.approx((6 / 7 + 1) / 2)
    moved = judged(parts, [boxes * 0, scores], [boxes, scores])
    assert moved.value < 0.6


def test_chosen_detections():
    final = np.zeros((1, 5, 6))
    final[0, :2] = [[0, 0, 10, 10, 0.9, 1], [20, 20, 40, 40, 0.8, 0]]
    other = final.copy()
    other[0, 1, 5] = 1  # another class
    part = task("detection", axis=2, part="final")
    assert judged([part], [other], [final]).results[0].numbers["detections kept"] == 0.5


def test_the_batch_does_not_matter():
    theirs = [RNG.standard_normal((12, 6)), heads()[[0, 1] * 6]]
    ours = [theirs[0] + 0.3 * RNG.standard_normal((12, 6)), heads(shift=3)[[0, 1] * 6]]
    tasks = [task("regression", axis=1), HEAD]
    whole = judged(tasks, ours, theirs)
    parts = Agreement(tasks)
    for start in range(0, 12, 5):
        rows = slice(start, start + 5)
        parts.add([x[rows] for x in ours], [x[rows] for x in theirs])
    assert parts.value == pytest.approx(whole.value)
    assert parts.value == pytest.approx(np.mean([each.value for each in parts.results]))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match="cannot be compared"):
        judged([HEAD], [heads()[:1]], [heads()])
    with pytest.raises(DataError, match="no examples to compare on"):
        _ = Agreement([HEAD]).results
