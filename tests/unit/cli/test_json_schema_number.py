"""Every JSON result carries the number of its schema."""

import json

import pytest

from acgraph.cli.main import run
from acgraph.ir import write_model
from acgraph.models.resnet import resnet_cifar


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    write_model(resnet_cifar(8, widths=(4, 8, 8), image=8), path)
    return str(path)


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "M"],
        ["inspect", "M", "--why", "stem"],
        ["prune", "M", "--sparsity", "0"],
        ["diff", "M", "M"],
        ["opt", "M", "-p", "infer-shapes"],
        ["opt", "--list-passes"],
    ],
    ids=" ".join,
)
def test_json_results_have_a_schema(model, capsys, words):
    run([model if word == "M" else word for word in [*words, "--format", "json"]])
    assert json.loads(capsys.readouterr().out)["schema"] == 1


def test_opt_reports_its_passes_as_json(model, tmp_path, capsys):
    out = tmp_path / "o.onnx"
    words = ["opt", model, "-p", "fold-constants,infer-shapes", "-o", str(out)]
    assert run([*words, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in found["passes"]] == ["fold-constants", "infer-shapes"]
    assert found["output"] == str(out)
    assert out.is_file()
