"""What ``import acgraph`` gives, and what it must not cost."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import acgraph
from acgraph.models.demo import model_path

#: The public API. A name that goes or comes is a change for users: it is stated here first.
DOCUMENTED = [
    "AcgraphError",
    "CompressResult",
    "CutPlan",
    "DiffResult",
    "InspectResult",
    "MeasureResult",
    "Model",
    "PruneResult",
    "Rate",
    "UsageError",
    "VerifyResult",
    "__version__",
    "apply",
    "compress",
    "diff",
    "inspect",
    "measure",
    "prune",
    "read_model",
    "verify",
    "write_model",
]
HEAVY = ["onnx", "onnx_graphsurgeon", "onnxruntime", "torch", "numpy"]


def loaded_after(code: str) -> set[str]:
    """Run code in a new interpreter and say which of the heavy packages it loaded."""
    ask = f"import json, sys; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{ask}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_all_is_the_documented_list_in_order():
    assert acgraph.__all__ == DOCUMENTED == sorted(DOCUMENTED)


@pytest.mark.parametrize("name", [n for n in DOCUMENTED if n != "__version__"])
def test_a_name_is_the_one_of_its_home_and_documented(name):
    value = getattr(acgraph, name)
    assert value is getattr(importlib.import_module(value.__module__), name)
    assert value.__module__.startswith("acgraph.")
    assert value.__doc__
    assert name in dir(acgraph)


def test_type_checkers_see_every_name_where_it_is_loaded_from():
    tree = ast.parse(Path(acgraph.__file__).read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == acgraph._HOMES
    assert {*seen, "__version__"} == set(DOCUMENTED)


def test_importing_loads_nothing_heavy():
    assert loaded_after("import acgraph; dir(acgraph)") == set()


def test_light_names_load_neither_torch_nor_onnxruntime():
    code = "from acgraph import AcgraphError, CutPlan, Model, Rate, UsageError, read_model"
    assert not loaded_after(code) & {"torch", "onnxruntime"}


def test_pruning_needs_no_torch():
    assert "torch" not in loaded_after(
        "from acgraph import apply, diff, inspect, measure, prune, verify"
    )


def test_a_name_does_not_hide_a_package_of_the_same_name():
    for name in set(DOCUMENTED) - {"__version__"}:
        assert not (Path(acgraph.__file__).parent / name).exists()
        assert not (Path(acgraph.__file__).parent / f"{name}.py").exists()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'squeeze'"):
        acgraph.squeeze  # noqa: B018


def test_the_example_of_the_docstring_works(tmp_path):
    result = acgraph.prune(model_path(), sparsity=0.5, keep=["*layer3*"])
    result.save(tmp_path / "out")
    again = acgraph.apply(model_path(), tmp_path / "out" / "plan.json")
    small = tmp_path / "out" / "model.onnx"
    assert acgraph.diff(again.model, small).is_empty
    assert acgraph.verify(small, result.masked).passed
    assert not acgraph.diff(model_path(), small).is_empty
    with pytest.raises(acgraph.AcgraphError):
        acgraph.Rate(0.5)
