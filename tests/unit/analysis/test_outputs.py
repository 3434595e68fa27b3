"""What a graph says of its outputs, on small graphs that end as published ones do."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.analysis.outputs import output_facts
from acgraph.ir import infer_facts, model_from_proto
from acgraph.tasks import guess

RNG = np.random.default_rng(0)
FLOAT = TensorProto.FLOAT


def facts_of(nodes, inputs, outputs, weights, opset=17, integers=()):
    """Read the outputs of a graph; ``inputs`` and ``outputs`` map names to shapes."""

    def info(name, shape):
        kind = TensorProto.INT64 if name in integers else FLOAT
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        [helper.make_node(op, i, o, name=o[0], **attrs) for op, i, o, attrs in nodes],
        "g",
        [info(*item) for item in inputs.items()],
        [info(*item) for item in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(proto)
    model = model_from_proto(proto)
    return output_facts(model, infer_facts(model))


def tasks_of(*args, **options):
    return guess(facts_of(*args, **options))


def weight(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def linear(tail, columns, name="out", **weights):
    """A vector of 8 through a Gemm, and what follows."""
    return (
        [("Gemm", ["x", "w"], ["y"], {}), *tail],
        {"x": (1, 8)},
        {name: (1, columns)},
        {"w": weight(8, columns), **weights},
    )


EXP_SUM = [
    ("Exp", ["y"], ["e"], {}),
    ("ReduceSum", ["e", "last"], ["s"], {"keepdims": 1}),
    ("Expand", ["s", "sizes"], ["b"], {}),
    ("Div", ["e", "b"], ["out"], {}),
]
BY_LENGTH = [
    ("ReduceL2", ["y"], ["l"], {"axes": [1], "keepdims": 1}),
    ("Clip", ["l", "least"], ["c"], {}),
    ("Div", ["y", "c"], ["out"], {}),
]
BY_ROOT = [
    ("Mul", ["y", "y"], ["q"], {}),
    ("ReduceSum", ["q", "last"], ["s"], {"keepdims": 1}),
    ("Sqrt", ["s"], ["l"], {}),
    ("Div", ["y", "l"], ["out"], {}),
]
ONES = {"last": np.array([1], np.int64), "sizes": np.array([1, 7], np.int64)}


@pytest.mark.parametrize(
    ("tail", "kind", "form"),
    [
        ([("Softmax", ["y"], ["out"], {"axis": 1})], "classification", "softmax"),
        ([("Softmax", ["y"], ["p"], {}), ("Identity", ["p"], ["out"], {})], "classification",
         "softmax"),
        ([("LogSoftmax", ["y"], ["out"], {"axis": 1})], "classification", "log-softmax"),
        ([("Sigmoid", ["y"], ["out"], {})], "classification", "sigmoid"),
        (EXP_SUM, "classification", "softmax"),
        (BY_LENGTH, "embedding", "logits"),
        (BY_ROOT, "embedding", "logits"),
        ([("LpNormalization", ["y"], ["out"], {"axis": 1})], "embedding", "logits"),
        ([("Relu", ["y"], ["out"], {})], "imitate", "logits"),
    ],
)  # fmt: skip
def test_ends_of_vectors(tail, kind, form):
    (task,) = tasks_of(*linear(tail, 7, least=np.float32(1e-9), **ONES))
    assert (task.kind, task.form, task.axis) == (kind, form, 1)


@pytest.mark.parametrize(
    ("columns", "kind"), [(1, "regression"), (6, "imitate"), (1000, "classification"),
                          (128, "embedding"), (136, "imitate")]
)  # fmt: skip
def test_raw_vectors_go_by_their_length(columns, kind):
    (task,) = tasks_of(*linear([("Identity", ["y"], ["out"], {})], columns))
    assert task.kind == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [("logits", "classification"), ("landmarks", "regression"), ("face_embedding", "embedding"),
     ("output", "imitate")],
)  # fmt: skip
def test_names_speak(name, kind):
    (task,) = tasks_of(*linear([("Identity", ["y"], [name], {})], 6, name))
    assert task.kind == kind


def test_a_layer_behind_a_global_pooling_tells_classes_apart():
    nodes = [
        ("Conv", ["x", "k"], ["c"], {}),
        ("GlobalAveragePool", ["c"], ["p"], {}),
        ("Flatten", ["p"], ["f"], {}),
        ("Gemm", ["f", "w"], ["out"], {}),
    ]
    weights = {"k": weight(5, 3, 1, 1), "w": weight(5, 6)}
    (task,) = tasks_of(nodes, {"x": (1, 3, 16, 16)}, {"out": (1, 6)}, weights)
    assert task.kind == "classification"
    assert "pooling" in task.reason


def yolo(columns_last):
    """The end of a YOLO detector for 32 x 32: boxes times strides, and sigmoids; 21 anchors."""
    axis, perm = (2, [0, 2, 1]) if columns_last else (1, [0, 1, 2])
    nodes = [
        ("Conv", ["x", "k"], ["c"], {"strides": [8, 8]}),
        ("Reshape", ["c", "to"], ["r"], {}),
        ("Slice", ["r", "zero", "four", "one"], ["b"], {}),
        ("Slice", ["r", "four", "nine", "one"], ["s"], {}),
        ("Mul", ["b", "stride"], ["bb"], {}),
        ("Sigmoid", ["s"], ["ss"], {}),
        ("Transpose", ["bb"], ["bt"], {"perm": perm}),
        ("Transpose", ["ss"], ["st"], {"perm": perm}),
        ("Concat", ["bt", "st"], ["output0"], {"axis": axis}),
    ]
    weights = {"k": weight(9, 3, 8, 8), "to": np.array([1, 9, 16], np.int64),
               "stride": np.float32(8), "zero": np.array([0], np.int64),
               "four": np.array([4], np.int64), "nine": np.array([9], np.int64),
               "one": np.array([1], np.int64)}  # fmt: skip
    shape = (1, 16, 9) if columns_last else (1, 9, 16)
    return nodes, {"images": (1, 3, 32, 32)}, {"output0": shape}, weights


def test_a_yolo_head_is_a_detector():
    nodes, inputs, outputs, weights = yolo(columns_last=False)
    nodes[0] = ("Conv", ["images", "k"], ["c"], {"strides": [8, 8]})
    facts = facts_of(nodes, inputs, outputs, weights)
    assert facts.outputs[0].joined == (("logits", 4), ("sigmoid", 5))
    (task,) = guess(facts)
    assert (task.kind, task.part, task.axis) == ("detection", "head", 1)
    nodes, inputs, outputs, weights = yolo(columns_last=True)
    nodes[0] = ("Conv", ["images", "k"], ["c"], {"strides": [8, 8]})
    (task,) = tasks_of(nodes, inputs, outputs, weights)
    assert (task.kind, task.part, task.axis) == ("detection", "head", 2)


def test_maps_beside_four_numbers_are_a_detector():
    nodes = [
        ("Conv", ["x", "k"], ["c"], {}),
        ("Conv", ["c", "kb"], ["conv_4"], {}),
        ("Conv", ["c", "ks"], ["s"], {}),
        ("Softmax", ["s"], ["softmax"], {"axis": 1}),
    ]
    weights = {"k": weight(5, 3, 3, 3), "kb": weight(4, 5, 1, 1), "ks": weight(2, 5, 1, 1)}
    outputs = {"conv_4": (1, 4, 14, 14), "softmax": (1, 2, 14, 14)}
    boxes, scores = tasks_of(nodes, {"x": (1, 3, 16, 16)}, outputs, weights)
    assert (boxes.kind, boxes.part, boxes.axis) == ("detection", "boxes", 1)
    assert (scores.kind, scores.part, scores.axis) == ("detection", "scores", 1)
    assert boxes.positions == scores.positions == (196,)


def recogniser(first, tail):
    """A network that reads 40 steps of an image, ``[T, N, classes]`` or ``[N, T, classes]``."""
    nodes = [
        ("Conv", ["x", "k"], ["c"], {"strides": [8, 8]}),
        ("ReduceMean", ["c"], ["m"], {"axes": [2], "keepdims": 0}),
        ("Transpose", ["m"], ["t"], {"perm": [2, 0, 1] if first else [0, 2, 1]}),
        ("MatMul", ["t", "w"], ["y"], {}),
        *tail,
    ]
    shape = (40, 1, 37) if first else (1, 40, 37)
    return nodes, {"x": (1, 3, 32, 320)}, {"out": shape}, {"k": weight(6, 3, 8, 8),
                                                           "w": weight(6, 37)}  # fmt: skip


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("tail", ["Softmax", "Identity"])
def test_steps_of_an_image_are_a_sequence(first, tail):
    (task,) = tasks_of(*recogniser(first, [(tail, ["y"], ["out"], {})]))
    assert (task.kind, task.axis, task.batch_axis) == ("ctc", 2, int(first))


def test_classes_of_tokens_are_no_sequence_to_decode():
    nodes = [("Gather", ["table", "ids"], ["e"], {}), ("MatMul", ["e", "w"], ["y"], {}),
             ("Softmax", ["y"], ["out"], {})]  # fmt: skip
    weights = {"table": weight(50, 6), "w": weight(6, 27)}
    (task,) = tasks_of(nodes, {"ids": (1, 16)}, {"out": (1, 16, 27)}, weights, integers=["ids"])
    assert (task.kind, task.axis) == ("classification", 2)


@pytest.mark.parametrize(
    ("channels", "tail", "kind"),
    [(1, "Sigmoid", "segmentation"), (3, "Sigmoid", "imitate"), (5, "Softmax", "segmentation"),
     (5, "Identity", "segmentation"), (3, "Identity", "imitate"), (1, "Relu", "imitate")],
)  # fmt: skip
def test_maps_at_the_size_of_the_input(channels, tail, kind):
    attrs = {"axis": 1} if tail == "Softmax" else {}
    nodes = [("Conv", ["x", "k"], ["y"], {}), (tail, ["y"], ["out"], attrs)]
    shape = (1, channels, 16, 16)
    weights = {"k": weight(channels, 3, 1, 1)}
    (task,) = tasks_of(nodes, {"x": (1, 3, 16, 16)}, {"out": shape}, weights)
    assert (task.kind, task.axis) == (kind, 1)


def test_states_are_imitated():
    nodes = [("Gemm", ["x", "w"], ["y"], {}), ("Add", ["y", "h"], ["hn"], {}),
             ("Sigmoid", ["hn"], ["prob"], {})]  # fmt: skip
    shapes = {"x": (1, 6), "h": (1, 6)}
    prob, state = tasks_of(nodes, shapes, {"prob": (1, 6), "hn": (1, 6)}, {"w": weight(6, 6)})
    assert (prob.kind, prob.form) == ("classification", "sigmoid")
    assert (state.kind, "input h" in state.reason) == ("imitate", True)
