import json

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from acgraph.difference import diff_models, json_from_diff, match_nodes, text_from_diff
from acgraph.ir import Model, clone_model
from acgraph.ir.text import model_from_text

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,4,4] x) => (float[1,3,4,4] y)
<float[3,2,1,1] w = {1,2,3,4,5,6}, float[3] b = {0,1,2}, float[3,3,1,1] v = {1,0,0,0,1,0,0,0,1}>
{
  [conv1] a = Conv <pads = [0,0,0,0]> (x, w, b)
  [relu1] r = Relu (a)
  [conv2] c = Conv (r, v)
  [add] y = Add (c, r)
}
"""


@pytest.fixture
def model() -> Model:
    return model_from_text(TEXT)


def changed(old: str, new: str) -> Model:
    assert old in TEXT
    return model_from_text(TEXT.replace(old, new))


def node(model: Model, name: str) -> gs.Node:
    return next(n for n in model.graph.nodes if n.name == name)


def lines(first: Model, second: Model) -> list[str]:
    return text_from_diff(diff_models(first, second), "a", "b").splitlines()


def test_a_model_is_equal_to_itself(model):
    diff = diff_models(model, clone_model(model))
    assert diff.is_empty
    assert text_from_diff(diff, "a", "b") == ""
    assert json.loads(json_from_diff(diff))["is_empty"] is True


def test_order_of_nodes_is_no_difference():
    swapped = TEXT.replace("[relu1] r = Relu (a)", "[relu1] r = Relu (a)\n  [side] s = Neg (a)")
    other = swapped.replace(
        "[relu1] r = Relu (a)\n  [side] s = Neg (a)", "[side] s = Neg (a)\n  [relu1] r = Relu (a)"
    )
    assert diff_models(model_from_text(swapped), model_from_text(other)).is_empty


def test_tensor_names_are_no_difference(model):
    renamed = model_from_text(
        TEXT.replace("r = Relu", "q = Relu").replace("(r, v)", "(q, v)").replace("(c, r)", "(c, q)")
    )
    assert diff_models(model, renamed).is_empty


def test_added_and_removed_nodes(model):
    extended = changed("y = Add (c, r)", "n = Add (c, r)\n  [neg] y = Neg (n)")
    diff = diff_models(model, extended)
    assert [(n.name, n.op_type) for n in diff.added] == [("neg", "Neg")]
    assert not diff.removed
    assert "+ neg (Neg)" in lines(model, extended)
    assert "- neg (Neg)" in lines(extended, model)


def test_a_removed_node_in_the_middle_is_told_once(model):
    bypassed = model_from_text(
        TEXT.replace("  [relu1] r = Relu (a)\n", "")
        .replace("(r, v)", "(a, v)")
        .replace("(c, r)", "(c, a)")
    )
    diff = diff_models(model, bypassed)
    assert [n.name for n in diff.removed] == ["relu1"]
    assert not diff.rewired


def test_rewired_inputs(model):
    diff = diff_models(model, changed("y = Add (c, r)", "y = Add (c, a)"))
    (change,) = diff.rewired
    assert (change.node, change.index, change.before, change.after) == ("add", 1, "relu1", "conv1")


def test_swapped_inputs_are_a_difference(model):
    assert len(diff_models(model, changed("Add (c, r)", "Add (r, c)")).rewired) == 2


def test_an_output_that_another_node_makes_is_a_difference():
    text = TEXT.replace("y = Add (c, r)", "y = Add (c, r)\n  [neg] z = Neg (c)").replace(
        "=> (float[1,3,4,4] y)", "=> (float[1,3,4,4] y, float[1,3,4,4] z)"
    )
    first = model_from_text(text)
    second = model_from_text(
        text.replace("] y =", "] tmp =").replace("] z =", "] y =").replace("] tmp =", "] z =")
    )
    kinds = {(p.kind, p.name) for p in diff_models(first, second).properties}
    assert kinds == {("source of output", "y"), ("source of output", "z")}


def test_order_of_outputs_is_a_difference():
    text = TEXT.replace("=> (float[1,3,4,4] y)", "=> (float[1,3,4,4] y, float[1,3,4,4] c)")
    swapped = text.replace(
        "(float[1,3,4,4] y, float[1,3,4,4] c)", "(float[1,3,4,4] c, float[1,3,4,4] y)"
    )
    diff = diff_models(model_from_text(text), model_from_text(swapped))
    assert [(p.kind, p.before, p.after) for p in diff.properties] == [("outputs", "y, c", "c, y")]


def test_resized_layers_say_filters_and_columns(model):
    smaller = model_from_text(
        TEXT.replace("w = {1,2,3,4,5,6}", "w = {1,2,3,4}")
        .replace("float[3,2,1,1] w", "float[2,2,1,1] w")
        .replace("float[3] b = {0,1,2}", "float[2] b = {0,1}")
        .replace("float[3,3,1,1] v = {1,0,0,0,1,0,0,0,1}", "float[2,2,1,1] v = {1,0,0,1}")
        .replace("=> (float[1,3,4,4] y)", "=> (float[1,2,4,4] y)")
    )
    text = lines(model, smaller)
    assert "layer conv1: filters 3 -> 2" in text
    assert "layer conv2: filters 3 -> 2, columns 3 -> 2" in text
    assert "constant w of conv1: [3, 2, 1, 1] -> [2, 2, 1, 1]" in text
    assert "output y: float32[1, 3, 4, 4] -> float32[1, 2, 4, 4]" in text
    assert any(line.startswith("params: 18 -> 10 (1.8x)") for line in text)


def test_values_are_compared_by_their_largest_change(model):
    diff = diff_models(model, changed("{0,1,2}", "{0,1,4.5}"))
    (change,) = diff.constants
    assert (change.name, change.node, change.max_abs_diff) == ("b", "conv1", 2.5)
    assert not diff.resized


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_stay_out_of_json(model, value):
    other = clone_model(model)
    weight = next(t for t in other.graph.tensors().values() if t.name == "b")
    weight.values = np.array([0, value, 2.5], np.float32)
    diff = diff_models(model, other)
    (change,) = diff.constants
    assert (change.max_abs_diff, change.not_finite) == (0.5, 1)

    def refuse(word):
        raise AssertionError(word)

    data = json.loads(json_from_diff(diff), parse_constant=refuse)
    assert data["constants"][0]["not_finite"] == 1
    said = "constant b of conv1: values differ by up to 0.5, 1 from or to NaN or infinity"
    assert said in lines(model, other)
    assert diff_models(other, clone_model(other)).is_empty


def test_types_of_constants_are_compared():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[4] x) => (float[2] y) <int64[2] i = {0, 2}> { [pick] y = Gather (x, i) }
    """
    other = model_from_text(text.replace("int64", "int32"))
    (change,) = diff_models(model_from_text(text), other).constants
    assert change.dtype == ("int64", "int32")
    assert change.max_abs_diff == 0.0


def test_attributes_are_compared(model):
    diff = diff_models(model, changed("<pads = [0,0,0,0]>", "<pads = [1,1,1,1], group = 1>"))
    found = {(a.node, a.attribute): (a.before, a.after) for a in diff.attributes}
    assert found == {
        ("conv1", "pads"): ("[0, 0, 0, 0]", "[1, 1, 1, 1]"),
        ("conv1", "group"): (None, "1"),
    }


def test_operator_and_metadata_and_opset(model):
    diff = diff_models(model, changed("Relu (a)", "Sigmoid (a)"))
    assert [(r.name, r.before, r.after) for r in diff.retyped] == [("relu1", "Relu", "Sigmoid")]
    other = changed('["" : 17]', '["" : 18]')
    other.metadata["author"] = "x"
    kinds = {(p.kind, p.name, p.before, p.after) for p in diff_models(model, other).properties}
    assert kinds == {("opset", "ai.onnx", "17", "18"), ("metadata", "author", None, "x")}


def test_renamed_nodes_are_found_by_structure(model):
    other = clone_model(model)
    for index, one in enumerate(other.graph.nodes):
        one.name = f"n{index}"
    diff = diff_models(model, other)
    expected = {"conv1": "n0", "relu1": "n1", "conv2": "n2", "add": "n3"}
    assert {r.before: r.after for r in diff.renamed} == expected
    assert (diff.added, diff.removed, diff.rewired, diff.constants) == ((), (), (), ())


def test_structure_is_not_guessed_where_it_is_ambiguous(model):
    second = changed("y = Add (c, r)", "d = Conv (r, v)\n e = Add (c, d)\n [add] y = Add (e, r)")
    other = clone_model(model)
    node(other, "conv2").name = "other"
    assert match_nodes(other, second).pairs.get("other") is None


def test_lowered_layers_are_recognised(model):
    lowered = model_from_text(
        TEXT.replace(
            "[conv2] c = Conv (r, v)",
            "[taken] t = Gather <axis = 1> (r, i)\n  [kept] c = Conv (t, u)",
        ).replace(
            "float[3,3,1,1] v = {1,0,0,0,1,0,0,0,1}",
            "int64[2] i = {0, 2}, float[3,2,1,1] u = {1,0,0,1,0,0}",
        )
    )
    node(lowered, "taken").name = "conv2/gather.taken"
    node(lowered, "kept").name = "conv2/conv"
    diff = diff_models(model, lowered)
    (change,) = diff.lowered
    assert (change.name, change.form, change.nodes) == ("conv2", "gather", 2)
    assert (change.filters, change.columns) == ((3, 3), (3, 2))
    assert (diff.added, diff.removed, diff.rewired) == ((), (), ())
    expected = "lowered: conv2: Conv -> gather form (2 nodes), columns 3 -> 2"
    assert expected in lines(model, lowered)


def test_names_cannot_break_a_line_or_command_a_terminal(model):
    other = clone_model(model)
    node(other, "relu1").name = "r\x1b[31m\nadded: nothing"
    (line,) = [line for line in lines(model, other) if line.startswith("renamed")]
    assert line == "renamed: relu1 -> r\\x1b[31m\\nadded: nothing (Relu)"


def test_a_change_inside_a_branch_is_one_line():
    branch = "=> (float[2,4] o) { o = MatMul(x, w) }"
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (bool c, float[2,3] x) => (float[2,4] y) '
        "<float[3,4] w = {1,2,3,4,5,6,7,8,9,1,2,3}> { [choice] y = If (c) "
        f"<then_branch = a () {branch}, else_branch = b () {branch}> }}"
    )
    first, second = (
        model_from_text(text),
        model_from_text(text.replace("MatMul(x, w)", "MatMul (x, w) q = Neg(x)", 1)),
    )
    (line,) = [line for line in lines(first, second) if line.startswith("attribute")]
    assert line.startswith("attribute then_branch of choice: graph")
    assert line.endswith("changed inside")


def test_json_holds_everything(model):
    data = json.loads(json_from_diff(diff_models(model, changed("{0,1,2}", "{0,1,4.5}"))))
    assert data["is_empty"] is False
    assert data["constants"][0]["shape"] == [[3], [3]]
    assert data["cost_before"]["params"] == data["cost_after"]["params"] == 18


def test_a_changed_scalar_is_measured():
    from acgraph.difference.compare import _distance

    assert _distance(np.array(1.0, np.float32), np.array(3.0, np.float32)) == (2.0, 0)
