"""Models made to break a reader: one line, before anything large is allocated."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.errors import ImportModelError, UsageError
from acgraph.ir import read_model
from acgraph.ir.load import load_model
from acgraph.ir.text import model_from_text
from acgraph.limits import VARIABLE, memory_limit


def conv(**attributes):
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c", **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, None)],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def reject(model, *words):
    data = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(ImportModelError) as caught:
        load_model(data)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    "attributes", [{"group": 0}, {"group": -2}, {"strides": [0, 1]}, {"kernel_shape": [3, 0]}]
)
def test_windows_and_groups_of_nothing_are_refused(attributes):
    reject(conv(**attributes), "node 'c' (Conv)", next(iter(attributes)), "at least 1")


@pytest.mark.parametrize("name", [b"c", b"w"])
def test_names_that_are_not_utf8_are_refused(name):
    model = conv()
    model.graph.node[0].name = "cc"
    model.graph.node[0].input[1] = model.graph.initializer[0].name = "ww"
    reject(model.SerializeToString().replace(2 * name, b"\xff\xfe"), "not UTF-8")


@pytest.mark.parametrize("dims", [[2**40, 2**40, 3, 3], [-4, 3, 3, 3]])
def test_impossible_shapes_are_refused(dims):
    model = conv()
    model.graph.initializer[0].dims[:] = dims
    reject(model, "'w'", "not possible")


def test_unknown_types_are_refused():
    model = conv()
    model.graph.initializer[0].data_type = 99
    reject(model, "'w'", "type 99")


def nested(levels):
    """Functions, each of which calls the one below twice."""
    functions = []
    for level in range(levels):
        inner, domain = ("Relu", "") if level == 0 else (f"f{level - 1}", "local")
        nodes = [
            helper.make_node(inner, ["a"], ["b"], domain=domain),
            helper.make_node(inner, ["b"], ["c"], domain=domain),
        ]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        functions.append(helper.make_function("local", f"f{level}", ["a"], ["c"], nodes, opsets))
    graph = helper.make_graph(
        [helper.make_node(f"f{levels - 1}", ["x"], ["y"], domain="local")],
        "g",
        [helper.make_tensor_value_info("x", 1, [2])],
        [helper.make_tensor_value_info("y", 1, [2])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=8)


def test_functions_that_unfold_without_measure_are_refused():
    assert len(load_model(nested(3)).graph.nodes) == 8
    reject(nested(40), "functions unfolded", VARIABLE)


def test_functions_that_call_each_other_in_a_circle_are_refused():
    model = nested(2)
    model.functions[0].node[0].op_type, model.functions[0].node[0].domain = "f1", "local"
    reject(model)


def test_the_limit_can_be_set(monkeypatch):
    monkeypatch.setenv(VARIABLE, "100K")
    assert memory_limit() == 100 << 10
    reject(nested(6), "100", VARIABLE)
    monkeypatch.setenv(VARIABLE, "lots")
    with pytest.raises(UsageError, match="lots"):
        memory_limit()


def sparse(indices, size=12):
    values = numpy_helper.from_array(np.array([1.5, -2.0], np.float32), "w")
    found = numpy_helper.from_array(np.array(indices, np.int64), "w_at")
    model = conv()
    del model.graph.initializer[:]
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, found, [size // 4, 4, 1, 1])
    )
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    return model


@pytest.mark.parametrize("indices", [[1, 10], [[0, 1, 0, 0], [2, 2, 0, 0]]])
def test_sparse_initializers_become_dense_with_their_type(indices):
    model = load_model(sparse(indices))
    expected = np.zeros(12, np.float32)
    expected[[1, 10]] = 1.5, -2.0
    (found,) = model.constants().values()
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.ravel(), expected)
    assert any("sparse" in remark for remark in model.remarks)


def test_sparse_initializers_beyond_the_limit_are_refused():
    reject(sparse([1, 10], size=2**50), "'w'", VARIABLE)


def test_sparse_initializers_with_wrong_indices_are_refused():
    reject(sparse([1, 12]))


@pytest.mark.parametrize(
    "text",
    [
        "garbage <<<",
        '<ir_version: 8, opset_import: ["" : 99999999999999999999]>\ng (float[2] x) => (float[2] y)'
        "{ y = Relu(x) }",
        "",
    ],
)
def test_garbage_in_the_text_format_is_refused(text):
    with pytest.raises(ImportModelError):
        model_from_text(text)


def test_a_broken_rule_names_the_node():
    model = conv()
    model.graph.node[0].input[1] = "nowhere"
    reject(model, "name: c", "nowhere")


@pytest.mark.parametrize(
    "location", ["../secret.bin", "{folder}/secret.bin", "link.bin", "a" * 5000]
)
def test_external_data_outside_the_folder_is_refused(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")
    model = conv()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location.format(folder=tmp_path))
    onnx.save(model, inside / "m.onnx")
    with pytest.raises(ImportModelError) as caught:
        read_model(inside / "m.onnx")
    assert "\n" not in str(caught.value)


def test_more_bytes_than_the_shape_takes_are_refused():
    model = conv()
    model.graph.initializer[0].dims[:] = [2, 3, 3, 3]
    reject(model, "'w' has 432 bytes", "takes 216")
