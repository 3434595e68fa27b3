"""Layers side by side, and the same told to Model Explorer."""

import json
import re

import numpy as np
import pytest

from acgraph.difference import count_operators, diff_models, model_explorer_from_diff, pair_layers
from acgraph.ir import Model, clone_model
from acgraph.ir.text import model_from_text

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,4,4] x) => (float[1,3,4,4] y)
<float[3,2,1,1] w = {1,2,3,4,5,6}, float[3,3,1,1] v = {1,0,0,0,1,0,0,0,1},
 float[3,3,1,1] u = {1,0,0,0,1,0,0,0,1}>
{
  [conv1] a = Conv (x, w)
  [relu1] r = Relu (a)
  [conv2] c = Conv (r, v)
  [conv3] y = Conv (c, u)
}
"""
SMALLER = (
    TEXT.replace("float[3,2,1,1] w = {1,2,3,4,5,6}", "float[2,2,1,1] w = {1,2,3,4}")
    .replace("float[3,3,1,1] v = {1,0,0,0,1,0,0,0,1}", "float[3,2,1,1] v = {1,0,0,1,0,0}")
    .replace("u = {1,0,0,0,1,0,0,0,1}", "u = {2,0,0,0,1,0,0,0,1}")
)


@pytest.fixture
def model() -> Model:
    return model_from_text(TEXT)


def lowered() -> Model:
    """The third layer as two nodes, the second of them named after it."""
    made = model_from_text(
        TEXT.replace(
            "[conv3] y = Conv (c, u)",
            "[taken] t = Gather <axis = 1> (c, i)\n [kept] y = Conv(t, u)",
        ).replace(
            "float[3,3,1,1] u = {1,0,0,0,1,0,0,0,1}",
            "int64[2] i = {0, 2}, float[3,2,1,1] u = {1,0,0,1,0,0}",
        )
    )
    names = {"taken": "conv3/gather.taken", "kept": "conv3/conv"}
    for node in made.graph.nodes:
        node.name = names.get(node.name, node.name)
    return made


def changes(first: Model, second: Model) -> dict[str, tuple[str, ...]]:
    return {p.name: p.changes for p in pair_layers(diff_models(first, second), first, second)}


def test_a_model_beside_itself(model):
    other = clone_model(model)
    pairs = pair_layers(diff_models(model, other), model, other)
    assert [pair.name for pair in pairs] == ["conv1", "conv2", "conv3"]
    assert all(pair.before == pair.after and not pair.changes for pair in pairs)


def test_cut_filters_and_columns_are_counted(model):
    assert changes(model, model_from_text(SMALLER)) == {
        "conv1": ("1 filter cut",),
        "conv2": ("1 column cut",),
        "conv3": ("values changed",),
    }


def test_a_lowered_layer_is_one_layer(model):
    second = lowered()
    pairs = {p.name: p for p in pair_layers(diff_models(model, second), model, second)}
    assert set(pairs) == {"conv1", "conv2", "conv3"}
    after = pairs["conv3"].after
    assert (after.op_type, after.filters, after.columns) == ("gather (2 nodes)", 3, 2)
    assert pairs["conv3"].changes == ("1 column cut", "lowered to gather")


def test_removed_added_and_renamed_layers(model):
    shorter = model_from_text(
        TEXT.replace("  [conv2] c = Conv (r, v)\n", "").replace("Conv (c, u)", "Conv (r, u)")
    )
    assert changes(model, shorter)["conv2"] == ("removed",)
    pairs = pair_layers(diff_models(shorter, model), shorter, model)
    assert [(p.name, p.before, p.changes) for p in pairs][-1] == ("conv2", None, ("added",))
    other = clone_model(model)
    next(n for n in other.graph.nodes if n.name == "conv2").name = "second"
    pair = pair_layers(diff_models(model, other), model, other)[1]
    assert (pair.name, pair.new_name, pair.changes) == ("conv2", "second", ("renamed",))


def test_operators_are_counted_on_both_sides(model):
    assert count_operators(model, lowered()) == [("Conv", 3, 3), ("Gather", 0, 1), ("Relu", 1, 1)]


def told(first: Model, second: Model) -> dict[str, dict[str, str]]:
    data = json.loads(model_explorer_from_diff(diff_models(first, second), first, second))
    assert set(data) == {"g"}
    assert set(data["g"]) == {"results"}
    return data["g"]["results"]


def test_node_data_has_the_names_of_both_graphs(model):
    second = lowered()
    found = told(model, second)
    names = {node.name for graph in (model, second) for node in graph.graph.nodes}
    assert set(found) == {"conv3", "conv3/gather.taken", "conv3/conv"} <= names
    assert found["conv3"]["value"] == "conv3, lowered to gather: columns 3 -> 2"
    assert found["conv3/conv"]["value"].startswith("part of conv3, lowered to gather")
    for entry in found.values():
        assert set(entry) == {"value", "bgColor"}
        assert re.fullmatch("#[0-9a-f]{6}", entry["bgColor"])


def test_node_data_says_what_changed(model):
    assert {k: v["value"] for k, v in told(model, model_from_text(SMALLER)).items()} == {
        "conv1": "filters 3 -> 2",
        "conv2": "columns 3 -> 2",
        "conv3": "constant u changed",
    }
    assert told(model, clone_model(model)) == {}


def test_graphs_of_two_names_are_two_entries(model):
    other = model_from_text(SMALLER)
    other.graph.name = "h"
    data = json.loads(model_explorer_from_diff(diff_models(model, other), model, other))
    assert set(data) == {"g", "h"}
    assert data["g"] == data["h"]


def test_a_node_named_after_a_lowered_layer_is_no_part_of_it(model):
    first, second = model_from_text(TEXT), lowered()
    for each in (first, second):
        next(n for n in each.graph.nodes if n.op == "Relu").name = "conv3/relu"
    assert "conv3/relu" not in told(first, second)


def test_values_that_are_not_finite_stay_out_of_node_data(model):
    other = clone_model(model)
    tensor = other.graph.tensors()["w"]
    tensor.values = np.full_like(tensor.values, np.nan)
    assert "NaN" not in model_explorer_from_diff(diff_models(model, other), model, other)
