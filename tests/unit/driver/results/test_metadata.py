"""A written model says what it is, and nothing that changes from run to run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from acgraph.analysis.layers import layers
from acgraph.config_merge import make_config
from acgraph.data.fingerprint import file_digest
from acgraph.driver.compress import compress
from acgraph.driver.cut_plan.apply import apply_plan
from acgraph.driver.prune.magnitude import prune
from acgraph.driver.results.metadata import PREFIX, describe, reserve
from acgraph.ir import Model, model_from_proto, read_model
from acgraph.pruning.cut_plan import CutPlan


@pytest.fixture
def file(make_net: Any, tmp_path: Path) -> Path:
    net = make_net()
    x = net.input(1, 3, 6, 6)
    for i, o in [(3, 16), (16, 20), (20, 16)]:
        x = net.op("Relu", net.conv(x, i, o))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    proto = net.proto(net.gemm(x, 16, 4))
    proto.metadata_props.add(key="author", value="somebody")
    proto.metadata_props.add(key=f"{PREFIX}rate", value="of an earlier cut")
    onnx.save(proto, str(tmp_path / "net.onnx"))
    return tmp_path / "net.onnx"


def _entries(model: Model | Path) -> dict[str, str]:
    if isinstance(model, Path):
        return {entry.key: entry.value for entry in onnx.load(str(model)).metadata_props}
    return model.metadata


def test_prune_states_where_a_model_comes_from(file: Path) -> None:
    first, second = (prune(read_model(file)) for _ in range(2))
    found = _entries(first.model)
    assert found["author"] == "somebody"
    assert found[f"{PREFIX}source_sha256"] == file_digest(file)
    assert found[f"{PREFIX}rate"].startswith("params ")
    assert float(found[f"{PREFIX}largest_relative_error"]) < 1e-4
    assert found == _entries(second.model), "the same cut says the same"
    assert first.after.bytes > 0
    assert _entries(first.masked)[f"{PREFIX}rate"] == "of an earlier cut"


def test_what_is_reserved_is_no_shorter_than_what_comes(make_net: Callable[[], Any]) -> None:
    net = make_net()
    proto = net.proto(net.op("Relu", net.input(1, 2)))
    held, final = model_from_proto(proto), model_from_proto(proto)
    reserve(held)
    for rate, error in [(1.0, 0.0), (999_999.99, 3.4e-300), (8.04, float("inf"))]:
        describe(final, source="f" * 64, rate=rate, error=error)
        assert held.metadata.keys() == final.metadata.keys()
        for name, value in final.metadata.items():
            assert len(value) <= len(held.metadata[name])


def test_compress_writes_a_plan_that_makes_the_same_structure(file: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((48, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    config = make_config(
        {
            "model": str(file), "data": str(tmp_path / "x.npz"), "target_rate": "3x", "epochs": 0,
            "timing": False, "threads": 1, "output": tmp_path / "out",
        },
        settings=("search.evaluations=2",),
    )  # fmt: skip
    compress(config)
    small = tmp_path / "out" / "model.onnx"
    assert _entries(small)[f"{PREFIX}source_sha256"] == file_digest(file)
    plan = CutPlan.load(tmp_path / "out" / "plan.json")
    made = apply_plan(read_model(file), plan)
    assert _structure(made.model) == _structure(read_model(small))
    ours, theirs = made.masked.constants(), read_model(tmp_path / "out" / "masked.onnx").constants()
    for layer in layers(made.masked):
        assert np.array_equal(ours[layer.weight] == 0, theirs[layer.weight] == 0)


def _structure(model: Model) -> list[tuple[str, list[tuple[int, ...]]]]:
    """Operators in order, each with the shapes of the constants that it reads."""
    shapes = {name: shape for name, (_, shape) in model.constant_forms().items()}
    return [
        (node.op, [shapes[t.name] for t in node.inputs if t.name in shapes])
        for node in model.graph.nodes
    ]
