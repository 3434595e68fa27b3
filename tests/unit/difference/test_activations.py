"""Where the activations of two models part."""

import json

import numpy as np
import pytest

import acgraph
from acgraph.difference import diff_models, run_both
from acgraph.errors import UsageError
from acgraph.ir import Model, clone_model, replace_constants
from acgraph.ir.text import model_from_text

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,4,4] x) => (float[1,3,4,4] y)
<float[3,2,1,1] w = {1,2,3,4,5,6}, float[3,3,1,1] v = {1,0,0,0,1,0,0,0,1}>
{
  [conv1] a = Conv (x, w)
  [relu1] r = Relu (a)
  [conv2] c = Conv (r, v)
  [add] y = Add (c, r)
}
"""


@pytest.fixture
def model() -> Model:
    return model_from_text(TEXT)


def test_equal_models_do_not_part(model):
    found = run_both(model, model, diff_models(model, model))
    assert found.first is None
    assert [each.node for each in found.activations] == ["conv1", "relu1", "conv2", "add", "y"]
    assert all(each.max_abs_error == 0.0 for each in found.activations)
    assert found.lines()[0] == ("no activation parts (same random inputs, 5 tensors compared)")


def test_they_part_at_the_first_changed_layer_and_behind_it(model):
    other = clone_model(model)
    replace_constants(other, {"v": np.full((3, 3, 1, 1), 0.5, np.float32)})
    found = run_both(model, other, diff_models(model, other))
    assert [each.parts for each in found.activations] == [False, False, True, True, True]
    assert found.first is not None
    assert found.first.node == "conv2"
    assert any(line.startswith("  conv2 (Conv): relative error") for line in found.lines())
    assert found.to_dict()["first"] == "conv2"


def test_tensors_of_other_shapes_are_not_compared_and_said_so(model):
    other = model_from_text(
        TEXT.replace("float[3,2,1,1] w = {1,2,3,4,5,6}", "float[2,2,1,1] w = {1,2,3,4}")
        .replace("float[3,3,1,1] v = {1,0,0,0,1,0,0,0,1}", "float[3,2,1,1] v = {1,0,0,0,1,0}")
        .replace("[add] y = Add (c, r)", "[add] y = Add (c, c)")
    )
    found = run_both(model, other, diff_models(model, other))
    by_node = {each.node: each for each in found.activations}
    assert by_node["conv1"].max_rel_error is None
    assert by_node["conv1"].reason == "shape [1, 2, 4, 4] instead of [1, 3, 4, 4]"
    assert by_node["conv2"].max_rel_error is not None


def test_inputs_of_other_names_are_matched_by_their_order_and_others_refused(model):
    renamed = model_from_text(TEXT.replace("] x)", "] z)").replace("(x, w)", "(z, w)"))
    assert run_both(model, renamed, diff_models(model, renamed)).first is None
    flat = model_from_text(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,2] q) => (float[1,2] y) '
        "{ [n] y = Relu (q) }"
    )
    with pytest.raises(UsageError, match="the inputs of the models differ: x and q"):
        run_both(model, flat, diff_models(model, flat))


def test_the_result_says_it_in_every_format(model):
    other = clone_model(model)
    replace_constants(other, {"v": np.full((3, 3, 1, 1), 0.5, np.float32)})
    found = acgraph.diff(model, other, run=True)
    assert "activations part at conv2" in found.to_text()
    assert json.loads(found.to_json())["run"]["first"] == "conv2"
    assert "Values part first at <strong>conv2</strong>" in found.to_html()
    plain = acgraph.diff(model, other)
    assert "run" not in json.loads(plain.to_json())
    assert "Activations" not in plain.to_html()
