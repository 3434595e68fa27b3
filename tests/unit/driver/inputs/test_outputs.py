"""Outputs that nobody uses are left out, with all that only they need."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import acgraph
from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.inputs.outputs import keep_outputs
from acgraph.errors import UsageError
from acgraph.ir import Model, model_from_proto, read_model, write_model

RNG = np.random.default_rng(0)
#: ``used`` needs x alone, ``spare`` also z; nothing reads ``idle``.
TEXT = """
<ir_version: 8, opset_import: ["": 17]>
g (float[N,6] x, float[N,3] z, float[N,2] idle) => (float[N,4] used, float[N,3] spare) {
  h = Gemm <transB = 1> (x, w)
  r = Relu(h)
  used = Gemm <transB = 1> (r, v)
  s = Gemm <transB = 1> (r, u)
  spare = Add(s, z)
}
"""


@pytest.fixture
def model() -> Model:
    proto = onnx.parser.parse_model(TEXT)
    for name, shape in (("w", (32, 6)), ("v", (4, 32)), ("u", (3, 32))):
        value = RNG.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return model_from_proto(proto)


def _names(tensors: Any) -> list[str]:
    return [tensor.name for tensor in tensors]


def test_what_only_they_need_goes_along(model: Model) -> None:
    assert keep_outputs(model, ["used"]) == ("spare",)
    assert _names(model.graph.outputs) == ["used"]
    assert _names(model.graph.inputs) == ["x", "idle"]
    assert [node.op for node in model.graph.nodes] == ["Gemm", "Relu", "Gemm"]


def test_nothing_changes_where_all_stay(model: Model) -> None:
    for names in ((), ("spare", "used")):
        assert keep_outputs(model, names) == ()
        assert _names(model.graph.outputs) == ["used", "spare"]
        assert len(model.graph.nodes) == 5


@pytest.mark.parametrize(
    ("name", "hint"), [("usedd", "did you mean 'used'?"), ("?", "the outputs are used, spare")]
)
def test_a_wrong_name_is_said_with_what_there_is(model: Model, name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        keep_outputs(model, ["used", name])
    assert f"has no output '{name}'; {hint}" in str(caught.value)


def test_prune_leaves_them_out(model: Model) -> None:
    found = acgraph.prune(model, sparsity=0.5, outputs="used")
    assert _names(found.model.graph.outputs) == ["used"]
    assert _names(model.graph.outputs) == ["used", "spare"]  # what was given stays as it is
    assert found.report.verify.passed


def test_compress_leaves_them_out(
    model: Model, configure: Callable[..., CompressConfig], tmp_path: Path
) -> None:
    write_model(model, tmp_path / "whole.onnx")
    x, idle = RNG.standard_normal((64, 6)), RNG.standard_normal((64, 2))
    np.savez(tmp_path / "data.npz", x=x.astype(np.float32), idle=idle.astype(np.float32))
    config = configure(
        model=str(tmp_path / "whole.onnx"), data=str(tmp_path / "data.npz"), eval_data=None,
        outputs=("used",), target_rate="1.5x", metric="macs", epochs=0.5,
    )  # fmt: skip
    compress(config)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["verify"]["passed"]
    small = read_model(tmp_path / "out" / "model.onnx")
    assert _names(small.graph.outputs) == ["used"]
    assert _names(small.graph.inputs) == ["x", "idle"]
