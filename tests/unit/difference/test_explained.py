"""A plan explains the resized constants of the cut that it lists, and no others."""

import json

import pytest

import acgraph
from acgraph.difference import diff_models, explain_by_plan
from acgraph.ir import clone_model, replace_constants
from acgraph.ir.load import load_model
from acgraph.models.demo import model_path
from acgraph.pruning.cut_plan import CutPlan


@pytest.fixture(scope="module")
def cut():
    result = acgraph.prune(str(model_path()), sparsity=0.5)
    return load_model(str(model_path())), result.model, result.plan


def test_every_resized_constant_of_a_cut_is_explained(cut):
    before, after, plan = cut
    diff = diff_models(before, after)
    resized = {change.name for change in diff.constants if change.shape[0] != change.shape[1]}
    assert len(resized) > 10
    found = explain_by_plan(before, after, diff, plan)
    assert set(found.same) == resized
    assert found.changed == found.unexplained == ()


def test_other_values_and_other_sizes_are_told_apart(cut):
    before, after, plan = cut
    trained = clone_model(after)
    name = "layer1.0.conv1.weight"
    values = {n: v * 2 for n, v in trained.constants().items() if n == name}
    replace_constants(trained, values)
    found = explain_by_plan(before, trained, diff_models(before, trained), plan)
    assert found.changed == (name,)
    partial = plan.model_copy(update={"axes": tuple(x for x in plan.axes if x.tensor != name)})
    left = explain_by_plan(before, after, diff_models(before, after), partial)
    assert left.unexplained == (name,)
    assert left.lines()[1] == f"the plan does not explain 1 resized constant: {name}"


def test_the_result_says_it_in_every_format(cut, tmp_path):
    before, after, plan = cut
    plan.save(tmp_path / "plan.json")
    found = acgraph.diff(before, after, plan=tmp_path / "plan.json")
    line = found.explained.lines()[0]
    assert line.startswith("the plan explains ")
    assert line in found.to_text()
    assert line[1:] in found.to_html()
    assert json.loads(found.to_json())["plan"]["unexplained"] == []
    assert "plan" not in json.loads(acgraph.diff(before, after).to_json())
    wrong = acgraph.diff(before, after, plan=CutPlan())
    assert len(wrong.explained.unexplained) > 10
