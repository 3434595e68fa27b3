"""What outputs are taken for, by values, labels and by what the user states."""

import numpy as np
import pytest

from acgraph.errors import UsageError
from acgraph.tasks import Agreement, ModelFacts, OutputFacts, guess, parse_tasks
from acgraph.tasks.heads import grid_sizes

RNG = np.random.default_rng(0)


def facts(*outputs, **inputs):
    return ModelFacts(outputs=outputs, inputs={"x": (1, 3, 64, 64), **inputs})


def vector(columns, **options):
    return OutputFacts(name="out", shape=(1, columns), channel_axis=1, **options)


def test_a_task_can_be_stated_for_all_and_for_one():
    both = facts(vector(10), OutputFacts(name="b", shape=(1, 6)))
    stated = parse_tasks(["imitate", "b=regression"])
    assert [t.kind for t in guess(both, stated=stated)] == ["imitate", "regression"]
    (task,) = guess(facts(vector(10)), stated=parse_tasks(["ctc"]))
    assert (task.kind, task.axis) == ("ctc", 2)
    with pytest.raises(UsageError, match="no output 'c'"):
        guess(both, stated={"c": "ctc"})


@pytest.mark.parametrize("texts", [["clas"], ["out="], ["ctc", "imitate"], ["a=ctc", "a=ctc"]])
def test_tasks_that_cannot_be_meant(texts):
    with pytest.raises(UsageError):
        parse_tasks(texts)


@pytest.mark.parametrize(
    ("shape", "labels", "kind"),
    [
        ((1, 6), np.arange(8) % 6, "classification"),
        ((1, 6), np.eye(6, dtype=np.float32), "classification"),
        ((1, 6), RNG.standard_normal((8, 6)), "regression"),
        ((1, 6, 8, 8), np.zeros((8, 8, 8), np.int64), "segmentation"),
        ((1, 12, 6), np.zeros((8, 5), np.int64), "ctc"),
    ],
)
def test_labels_speak(shape, labels, kind):
    (task,) = guess(facts(OutputFacts(name="out", shape=shape)), labels=labels)
    assert task.kind == kind


def test_coordinates_keep_their_places():
    landmarks = np.repeat(np.linspace(0.1, 0.9, 5), 2) + RNG.normal(size=(40, 10)) * 0.02
    (task,) = guess(facts(vector(9)), values=[landmarks[:, :9]])
    assert task.kind == "regression"
    (task,) = guess(facts(vector(9)), values=[RNG.standard_normal((40, 9))])
    assert task.kind == "imitate"


def test_unit_vectors_are_embeddings():
    vectors = RNG.standard_normal((20, 9))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    (task,) = guess(facts(vector(9)), values=[vectors])
    assert task.kind == "embedding"


def test_grids_of_a_detector():
    sizes = grid_sizes(facts())
    assert {84, 3 * 84, 85} <= sizes  # 8*8 + 4*4 + 2*2, and 1*1 more
    (task,) = guess(facts(OutputFacts(name="o", shape=(1, 9, 84))))
    assert (task.kind, task.part, task.axis) == ("detection", "head", 1)
    (task,) = guess(facts(OutputFacts(name="o", shape=(1, 252, 9))))
    assert (task.kind, task.part, task.axis) == ("detection", "objectness head", 2)
    (task,) = guess(facts(OutputFacts(name="o", shape=(1, 9, 99))))
    assert task.kind == "imitate"


def test_without_tasks_values_decide():
    theirs = RNG.normal(size=(200, 128))
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    ours = theirs + RNG.normal(size=theirs.shape) * theirs.std() * 0.3
    result = Agreement()
    result.add([ours], [theirs])
    assert result.results[0].kind == "embedding"
    assert 0.95 < result.value < 0.97
    boxes = RNG.uniform(0, 320, size=(8, 4, 100))
    scores = (RNG.random((8, 6, 100)) < 0.03) * RNG.uniform(0.3, 0.9, (8, 6, 100))
    theirs = np.concatenate([boxes, scores], 1)
    ours = theirs.copy()
    ours[:, 4:] = 0
    result = Agreement()
    result.add([ours], [theirs])
    assert result.results[0].kind == "detection"
    assert result.value == 0


def test_detections_that_a_network_has_chosen():
    outputs = [
        OutputFacts(name="detection_boxes", shape=(1, 50, 4)),
        OutputFacts(name="detection_scores", shape=(1, 50)),
        OutputFacts(name="detection_classes", shape=(1, 50)),
    ]
    boxes, scores, classes = guess(facts(*outputs))
    assert (boxes.part, scores.part, classes.kind) == ("boxes", "scores", "imitate")
    assert boxes.positions == scores.positions == (50,)
    theirs = [np.tile([10.0, 10, 30, 30], (1, 50, 1)), np.zeros((1, 50)), np.zeros((1, 50))]
    theirs[0][0, 1] = [50, 50, 90, 90]
    theirs[1][0, :2] = 0.9
    ours = [theirs[0], theirs[1].copy(), theirs[2]]
    ours[1][0, 1] = 0
    result = Agreement([boxes, scores, classes])
    result.add(ours, theirs)
    assert result.results[0].name == "detection_boxes, detection_scores"
    assert result.results[0].numbers["detections kept"] == 0.5
