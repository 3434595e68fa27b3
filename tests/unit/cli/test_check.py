"""``acgraph check``: a committed budget, and the formats of pipelines."""

import json
from xml.etree import ElementTree

import pytest

from acgraph.cli.main import run
from acgraph.ir import write_model
from acgraph.models.resnet import resnet_cifar


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    write_model(resnet_cifar(8, widths=(4, 8, 8), image=8), path)
    return str(path)


@pytest.fixture
def check(model, tmp_path, capsys):
    def call(budget, *words):
        file = tmp_path / "budget.yaml"
        file.write_text(budget)
        code = run(["check", model, "--budget", str(file), *words])
        return code, *capsys.readouterr()

    return call


def test_a_model_within_its_budget(check):
    code, out, _ = check("max_params: 1e6\nmax_macs: 1e9\nmax_bytes: 1000000\n")
    assert code == 0
    assert out.count("kept") == 3


def test_a_broken_budget_in_all_formats(check, model):
    budget = "max_params: 1e6\nmax_bytes: 100\n"
    code, out, _ = check(budget)
    assert code == 3
    assert "BREAKS" in out
    assert out.count("BROKEN") == 1
    found = json.loads(check(budget, "--format", "json")[1])
    assert (found["schema"], found["met"]) == (1, False)
    assert [entry["met"] for entry in found["limits"]] == [True, False]
    suite = ElementTree.fromstring(check(budget, "--format", "junit")[1])
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite if len(case)] == ["max_bytes"]
    (result,) = json.loads(check(budget, "--format", "sarif")[1])["runs"][0]["results"]
    assert result["ruleId"] == "max_bytes"
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 2
    code, out, _ = check(budget, "--format", "github")
    assert code == 3
    assert out.startswith("::error file=")
    assert ",line=2," in out


def test_latency_is_compared_with_another_model(check, model):
    assert check(f"max_latency_ratio: 1000\nagainst: {model}\n")[0] == 0
    assert check(f"max_latency_ratio: 0.001\nagainst: {model}\n")[0] == 3


@pytest.mark.parametrize(
    ("budget", "word"),
    [
        ("max_latency_ratio: 1\n", "--against"),
        ("min_accuracy: 0.5\n", "--data"),
        ("max_parms: 3\n", "line 1: max_parms"),
        ("max_params: -3\n", "line 1: max_params"),
        ("runtime: ort\n", "no limit"),
        ("max_params: 1\nmax_params: 2\n", "given twice"),
    ],
)
def test_an_invalid_budget_is_a_usage_error(check, budget, word):
    code, _, err = check(budget)
    assert code == 2
    assert word in err
    assert err.count("\n") == 1
