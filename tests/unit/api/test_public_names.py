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
    "CompressConfig",
    "Model",
    "Rate",
    "__version__",
    "analyse",
    "check_law",
    "compress",
    "diff_models",
    "make_config",
    "measure_latency",
    "prune",
    "read_model",
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
    code = "from acgraph import AcgraphError, Model, Rate, analyse, diff_models, read_model"
    assert not loaded_after(code) & {"torch", "onnxruntime"}


def test_pruning_needs_no_torch():
    assert "torch" not in loaded_after("from acgraph import check_law, measure_latency, prune")


def test_a_name_does_not_hide_a_package_of_the_same_name():
    import acgraph.diff

    assert acgraph.diff.__name__ == "acgraph.diff"
    for name in set(DOCUMENTED) - {"__version__"}:
        assert not (Path(acgraph.__file__).parent / name).exists()
        assert not (Path(acgraph.__file__).parent / f"{name}.py").exists()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'squeeze'"):
        acgraph.squeeze  # noqa: B018


def test_the_example_of_the_docstring_works(tmp_path):
    model = acgraph.read_model(model_path())
    result = acgraph.prune(model, sparsity=0.5)
    path = tmp_path / "small.onnx"
    acgraph.write_model(result.model, path)
    assert acgraph.check_law(acgraph.read_model(path), result.masked).passed
    assert not acgraph.diff_models(model, acgraph.read_model(path)).is_empty
    with pytest.raises(acgraph.AcgraphError):
        acgraph.Rate(0.5)
