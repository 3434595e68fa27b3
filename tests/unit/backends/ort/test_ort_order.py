"""The order within an ``.ort`` file: equal for equal models, whatever the order of hash tables."""

import struct
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.backends.ort import ort_order
from acgraph.backends.ort.mobile import write_ort
from acgraph.backends.ort.ort_order import UnknownContentError, in_order

#: Slots: the graph of the model, the model of the session; lists of the graph.
MODEL, GRAPH = 1, 7
LISTS = {"initializers": 0, "values": 1}


def branching(path: Path) -> None:
    """Write a network with a list of initializers, text, a sequence and branches."""
    rng = np.random.default_rng(0)
    names = [f"w{k}" for k in range(5)]
    bodies = {
        which: helper.make_graph(
            [helper.make_node(which, [f"v{k}" for k in range(5)], [which])],
            which,
            [],
            [helper.make_tensor_value_info(which, TensorProto.FLOAT, ["N", 4])],
        )
        for which in ("Sum", "Max")
    }
    nodes = [helper.make_node("Mul", ["x", name], [f"v{k}"]) for k, name in enumerate(names)]
    nodes.append(
        helper.make_node("If", ["c"], ["y"], then_branch=bodies["Sum"], else_branch=bodies["Max"])
    )
    nodes.append(helper.make_node("SequenceConstruct", ["y", "x"], ["all"]))
    nodes.append(helper.make_node("SequenceAt", ["all", "one"], ["z"]))
    text = np.array([b"a", b"", b"\0bc"], dtype=object)
    nodes.append(helper.make_node("Identity", ["text"], ["t"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 4]),
            helper.make_tensor_value_info("t", TensorProto.STRING, [3]),
        ],
        [numpy_helper.from_array(rng.random(4).astype(np.float32), name) for name in names]
        + [numpy_helper.from_array(text, "text"), numpy_helper.from_array(np.array(1), "one")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"b": "2", "a": "1"})
    onnx.save(model, path)


def swapped(content: bytes, slot: int) -> bytes:
    """Return the same model with the first two entries of a list of its graph in other order."""
    reader = ort_order._Reader(memoryview(content))
    at = 0
    for step in (None, MODEL, GRAPH, slot):
        at = reader.target(at if step is None else at + reader.fields(at)[step])
    first, second = struct.unpack_from("<2I", content, at + 4)
    changed = bytearray(content)
    struct.pack_into("<2I", changed, at + 4, second + 4, first - 4)
    return bytes(changed)


@pytest.fixture
def written(tmp_path: Path) -> bytes:
    """Return an ``.ort`` file as acgraph writes it."""
    branching(tmp_path / "net.onnx")
    write_ort(tmp_path / "net.onnx", tmp_path / "net.ort")
    return (tmp_path / "net.ort").read_bytes()


@pytest.mark.parametrize("which", LISTS)
def test_the_order_of_lists_that_have_none_leaves_the_bytes_equal(
    written: bytes, which: str
) -> None:
    other = swapped(written, LISTS[which])
    assert other != written
    assert b"".join(in_order(other)) == written


def test_what_is_written_is_in_order_and_computes_the_same(written: bytes, tmp_path: Path) -> None:
    assert b"".join(in_order(written)) == written
    plain = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    mobile = ort.InferenceSession(written, providers=["CPUExecutionProvider"])
    for branch in (True, False):
        feeds = {"x": np.arange(8, dtype=np.float32).reshape(2, 4), "c": np.array(branch)}
        for wanted, found in zip(plain.run(None, feeds), mobile.run(None, feeds), strict=True):
            np.testing.assert_array_equal(wanted, found)
    assert mobile.get_modelmeta().custom_metadata_map == {"a": "1", "b": "2"}


def test_what_is_not_known_is_left_as_it_is(
    written: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownContentError, match="another identifier"):
        in_order(b"\0" * 64)
    monkeypatch.setitem(ort_order._TABLES, "Node", ort_order._TABLES["Node"][:9])
    with pytest.raises(UnknownContentError, match="Node has an unknown field 9"):
        in_order(written)
    write_ort(tmp_path / "net.onnx", tmp_path / "other.ort")
    assert ort.InferenceSession(tmp_path / "other.ort").get_inputs()[0].name == "x"
