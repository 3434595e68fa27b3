"""The cost of each node in both models, and all kinds of changes in the JSON."""

import json

import pytest

from acgraph.difference import diff_models, json_from_diff
from acgraph.ir import Model
from acgraph.ir.text import model_from_text

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,4,4] x) => (float[1,3,4,4] y)
<float[3,2,1,1] w = {1,2,3,4,5,6}, float[3] b = {0,1,2}, float[3,3,1,1] v = {1,0,0,0,1,0,0,0,1}>
{
  [conv1] a = Conv (x, w, b)
  [relu1] r = Relu (a)
  [conv2] y = Conv (r, v)
}
"""


def costs(first: Model, second: Model) -> dict[tuple[str | None, str | None], tuple]:
    diff = diff_models(first, second)
    for side, whole in enumerate((diff.cost_before, diff.cost_after)):
        assert sum(each.macs[side] for each in diff.node_costs) == whole.macs
    return {(each.before, each.after): (each.op_type, each.macs, each.params, each.bytes)
            for each in diff.node_costs}  # fmt: skip


def test_a_resized_layer_has_both_costs():
    smaller = (
        TEXT.replace("w = {1,2,3,4,5,6}", "w = {1,2,3,4}")
        .replace("float[3,2,1,1] w", "float[2,2,1,1] w")
        .replace("float[3] b = {0,1,2}", "float[2] b = {0,1}")
        .replace("float[3,3,1,1] v = {1,0,0,0,1,0,0,0,1}", "float[3,2,1,1] v = {1,0,0,1,0,0}")
    )
    assert costs(model_from_text(TEXT), model_from_text(smaller)) == {
        ("conv1", "conv1"): ("Conv", (96, 64), (9, 6), (36, 24)),
        ("relu1", "relu1"): ("Relu", (0, 0), (0, 0), (0, 0)),
        ("conv2", "conv2"): ("Conv", (144, 96), (9, 6), (36, 24)),
    }


def test_added_and_removed_nodes_have_the_cost_of_one_side():
    first = model_from_text(TEXT)
    second = model_from_text(TEXT.replace("y = Conv (r, v)", "y = Conv (r, v, b)").replace(
        "[relu1] r = Relu (a)", "[more] m = Conv (a, v)\n[next] r = Sigmoid (m)"
    ))  # fmt: skip
    found = costs(first, second)
    assert found["conv2", "conv2"] == ("Conv", (144, 144), (9, 12), (36, 48))
    assert found[None, "more"] == ("Conv", (0, 144), (0, 9), (0, 36))
    back = costs(second, first)
    assert back["more", None] == ("Conv", (144, 0), (9, 0), (36, 0))


def test_a_lowered_layer_has_the_cost_of_all_its_parts():
    lowered = TEXT.replace(
        "[conv2] y = Conv (r, v)",
        "[conv2_g] t = Gather <axis = 1> (r, i)\n  [conv2_c] y = Conv (t, u)",
    ).replace(
        "float[3,3,1,1] v = {1,0,0,0,1,0,0,0,1}",
        "int64[2] i = {0, 2}, float[3,2,1,1] u = {1,0,0,1,0,0}",
    )
    second = model_from_text(lowered)
    for node in second.graph.nodes:
        node.name = {"conv2_g": "conv2/gather.taken", "conv2_c": "conv2/conv"}.get(
            node.name, node.name
        )
    found = costs(model_from_text(TEXT), second)
    assert found["conv2", "conv2"] == ("Conv", (144, 96), (9, 8), (36, 40))
    assert len(found) == 3


def test_constants_in_branches_count_and_unknown_macs_are_null():
    branch = "=> (float[2,4] o) { o = MatMul(x, w) }"
    model = model_from_text(
        '<ir_version: 8, opset_import: ["" : 17]> g (bool c, float[2,3] x) => (float[2,4] y) '
        "<float[3,4] w = {1,2,3,4,5,6,7,8,9,1,2,3}> { [choice] y = If (c) "
        f"<then_branch = a () {branch}, else_branch = b () {branch}> }}"
    )
    diff = diff_models(model, model)
    (cost,) = diff.node_costs
    assert (cost.macs, cost.params, cost.bytes) == ((None, None), (12, 12), (48, 48))
    assert diff.is_empty


@pytest.mark.parametrize(
    ("old", "new", "key", "expected"),
    [
        ('"" : 17', '"" : 18', "properties", ("opset", "ai.onnx", "17", "18")),
        ("(float[1,2,4,4] x)", "(float[2,2,4,4] x)", "properties",
         ("input", "x", "float32[1, 2, 4, 4]", "float32[2, 2, 4, 4]")),
        ("=> (float[1,3,4,4] y)", "=> (float[1,3,4,4] y, float[1,3,4,4] r)", "properties",
         ("output", "r", None, "float32[1, 3, 4, 4]")),
    ],
)  # fmt: skip
def test_json_has_the_interface_of_both_models(old, new, key, expected):
    second = model_from_text(TEXT.replace(old, new))
    data = json.loads(json_from_diff(diff_models(model_from_text(TEXT), second)))
    assert dict(zip(("kind", "name", "before", "after"), expected, strict=True)) in data[key]


def test_json_has_types_values_metadata_and_costs():
    text = TEXT.replace("[relu1] r = Relu (a)", "[relu1] r = Gather <axis = 1> (a, i)").replace(
        "<float[3,2,1,1] w", "<int64[3] i = {0,1,2}, float[3,2,1,1] w"
    )
    first = model_from_text(text)
    second = model_from_text(text.replace("int64[3]", "int32[3]").replace("b = {0,", "b = {7,"))
    second.metadata["author"] = "x"
    data = json.loads(json_from_diff(diff_models(first, second)))
    constants = {change["name"]: change for change in data["constants"]}
    assert constants["i"]["dtype"] == ["int64", "int32"]
    assert constants["b"]["max_abs_diff"] == 7.0
    assert {"kind": "metadata", "name": "author", "before": None, "after": "x"} in data[
        "properties"
    ]
    assert data["node_costs"][0] == {
        "before": "conv1", "after": "conv1", "op_type": "Conv",
        "macs": [96, 96], "params": [9, 9], "bytes": [36, 36],
    }  # fmt: skip
    assert data["node_costs"][1]["bytes"] == [24, 12]
