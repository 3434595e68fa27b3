"""Constants of types that numpy lacks, and strings that are not UTF-8: kept bit for bit."""

import copy
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.cli.main import run
from acgraph.ir import clone_model, read_model, write_model
from acgraph.ir.node_proto import node_to_proto
from acgraph.ir.text import text_from_model

RAW = (b"\xff\xfe", b"plain")
#: Three of the least values each: an odd number, so that packed ones do not fill their bytes.
NUMBERS = {
    "int4": (ml_dtypes.int4, 21),
    "uint4": (ml_dtypes.uint4, 21),
    "int2": (ml_dtypes.int2, 25),
    "uint2": (ml_dtypes.uint2, 25),
    "float4": (ml_dtypes.float4_e2m1fn, 23),
    "e4m3fn": (ml_dtypes.float8_e4m3fn, 19),
    "e4m3fnuz": (ml_dtypes.float8_e4m3fnuz, 19),
    "e5m2": (ml_dtypes.float8_e5m2, 19),
    "e5m2fnuz": (ml_dtypes.float8_e5m2fnuz, 19),
    "bfloat16": (ml_dtypes.bfloat16, 19),
}


def _strings() -> TensorProto:
    tensor = TensorProto(name="q", data_type=TensorProto.STRING, dims=[len(RAW)])
    tensor.string_data.extend(RAW)
    return tensor


def _model(
    value: TensorProto | None, opset: int, *, node: onnx.NodeProto | None = None
) -> onnx.ModelProto:
    """A convolution and, apart from it, something that reads the constant ``q``."""
    weight = np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32)
    initializers = [numpy_helper.from_array(weight, "w")]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
        helper.make_node("Size", ["q"], ["z"], name="size"),
    ]
    if node is None:
        assert value is not None
        initializers.append(value)
    else:
        nodes.insert(0, node)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 4, 4])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 4, 4]),
            helper.make_tensor_value_info("z", TensorProto.INT64, []),
        ],
        initializers,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=13 if opset > 23 else 10)


def _forms(value: TensorProto, opset: int) -> dict[str, onnx.ModelProto]:
    held = copy.deepcopy(value)
    held.name = ""
    constant = helper.make_node("Constant", [], ["q"], name="held", value=held)
    return {"initializer": _model(value, opset), "node": _model(value, opset, node=constant)}


CASES = {
    f"{name}, {form}": proto
    for name, (dtype, opset) in NUMBERS.items()
    for form, proto in _forms(
        numpy_helper.from_array(np.array([1, 0, 1]).astype(dtype), "q"), opset
    ).items()
}
CASES |= {f"strings, {form}": proto for form, proto in _forms(_strings(), 17).items()}
CASES["strings, attribute"] = _model(
    None, 17, node=helper.make_node("Constant", [], ["q"], name="held", value_strings=RAW)
)


def _bits(proto: onnx.ModelProto) -> object:
    """Everything that the constant ``q`` says, without the way in which a file holds it."""
    tensors = [t for t in proto.graph.initializer if t.name == "q"]
    for node in proto.graph.node:
        if node.op_type == "Constant":
            (attribute,) = node.attribute
            if attribute.strings:
                return tuple(attribute.strings)
            tensors.append(attribute.t)
    (tensor,) = tensors
    if tensor.data_type == TensorProto.STRING:
        return tuple(tensor.dims), tuple(tensor.string_data)
    array = numpy_helper.to_array(tensor)
    return tensor.data_type, array.shape, array.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_they_survive_being_looked_at(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "a.onnx", tmp_path / "b.onnx"
    onnx.save(CASES[name], source)
    model = read_model(source)
    for _ in range(2):  # what is written leaves the model as it was
        model.constants()
        text_from_model(model)
        for node in model.graph.nodes:
            node_to_proto(node)
        model = clone_model(model)
        write_model(model, target)
        assert _bits(onnx.load(target)) == _bits(CASES[name])
        onnx.checker.check_model(onnx.load(target))


@pytest.mark.parametrize("name", CASES)
def test_no_command_ends_in_a_traceback(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, target = str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx")
    onnx.save(CASES[name], source)
    assert run(["inspect", source]) == 0
    assert run(["diff", source, source]) == 0
    assert run(["opt", source, "-p", "fuse-batchnorm,eliminate-dead-nodes", "-o", target]) == 0
    code = run(["prune", source, "-o", target, "--no-ort"])
    said = capfd.readouterr().err
    assert "bug" not in said
    if code in (0, 3):  # 3 where nothing of it can be cut
        assert _bits(onnx.load(target)) == _bits(CASES[name])
    else:
        assert "ONNX Runtime cannot load the model: " in said


@pytest.mark.parametrize("name", ["int4", "uint4", "e4m3fn", "e4m3fnuz"])
def test_a_cut_beside_them_leaves_them(name: str, tmp_path: Path) -> None:
    dtype = NUMBERS[name][0]
    rng = np.random.default_rng(0)
    held = numpy_helper.from_array(np.array([1, 2, 3, 1, 0], np.float32).astype(dtype), "q")
    arrays = {"w": (6, 3, 3, 3), "v": (5, 6, 1, 1)}
    initializers = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), key)
        for key, shape in arrays.items()
    ]
    initializers += [held, numpy_helper.from_array(np.array(0.5, np.float32), "s")]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], name="first"),
            helper.make_node("DequantizeLinear", ["q", "s"], ["b"], name="bias"),
            helper.make_node("Conv", ["a", "v", "b"], ["y"], name="second"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5, 4, 4])],
        initializers,
    )
    source, target = tmp_path / "a.onnx", tmp_path / "b.onnx"
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), source)
    assert run(["prune", str(source), "-o", str(target), "--no-ort"]) == 0
    made = onnx.load(target)
    assert _bits(made) == _bits(onnx.load(source))
    (first,) = [t for t in made.graph.initializer if t.name == "w"]
    assert first.dims[0] == 3


def test_strings_in_attributes_of_others_operators_are_kept(tmp_path: Path) -> None:
    node = helper.make_node("Mine", [], ["q"], name="own", domain="own", word=RAW[0], count=3)
    inner = helper.make_graph(
        [node], "inner", [], [helper.make_tensor_value_info("q", TensorProto.FLOAT, [2])]
    )
    branch = helper.make_node("If", ["x0"], ["q"], name="if", then_branch=inner, else_branch=inner)
    proto = _model(None, 17, node=node)
    nested = _model(None, 17, node=branch)
    nested.graph.input.append(helper.make_tensor_value_info("x0", TensorProto.BOOL, []))
    for number, one in enumerate((proto, nested)):
        source, target = tmp_path / f"{number}.onnx", tmp_path / f"{number}b.onnx"
        onnx.save(one, source)
        write_model(read_model(source), target)
        before, after = onnx.load(source).graph.node[0], onnx.load(target).graph.node[0]
        assert {a.name: a for a in before.attribute} == {a.name: a for a in after.attribute}


@pytest.mark.parametrize("other", ["changed", "swapped"])
def test_other_strings_are_a_difference(
    other: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx")
    proto = _model(_strings(), 17)
    onnx.save(proto, first)
    held = next(t for t in proto.graph.initializer if t.name == "q")
    held.string_data[:] = [b"new", RAW[1]] if other == "changed" else RAW[::-1]
    onnx.save(proto, second)
    for form in ("text", "json", "html", "model-explorer"):
        assert run(["diff", first, second, "--format", form]) == 1
        assert capfd.readouterr().err == ""
