"""Which layer an operator of a profile is counted for."""

from collections.abc import Mapping

import numpy as np
import onnx
import pytest

import acgraph.driver.latency.layer_times as module
from acgraph.backends.ort.profile import OperatorTime, profile_operators
from acgraph.driver.latency.layer_times import layer_times
from acgraph.driver.results.layer_changes import layer_changes
from acgraph.ir import Model, model_from_proto

#: Name of every node; the second is named after a layer without being a part of it.
NAMES = ("conv1", "conv1/gate", "conv10", "pool", "flat", "fc", "fc/bias", "fc/relu", "head", "top")


def _model(names: tuple[str, ...] = NAMES) -> Model:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,3,8,8] x) => (float[1,5] y) {
        a = Conv(x, w1) b = HardSwish(a) c = Conv(b, w10) p = GlobalAveragePool(c) f = Flatten(p)
        m = MatMul(f, v) q = Add(m, d) z = Relu(q) h = Gemm(z, u, d) y = Relu(h) }"""
    proto = onnx.parser.parse_model(text)
    for node, name in zip(proto.graph.node, names, strict=True):
        node.name = name
    rng = np.random.default_rng(0)
    for key, shape in {
        "w1": (4, 3, 3, 3), "w10": (4, 4, 1, 1), "v": (4, 5), "d": (5,), "u": (5, 5),
    }.items():  # fmt: skip
        values = rng.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, key))
    return model_from_proto(proto)


def _fake(monkeypatch: pytest.MonkeyPatch, times: Mapping[str, float]) -> None:
    profile = [
        OperatorTime(name=name, op_type="", p50_ms=ms, share=0.0) for name, ms in times.items()
    ]
    monkeypatch.setattr(module, "profile_operators", lambda *_: profile)


def test_only_the_layer_itself_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake(monkeypatch, {"conv1": 1.0, "conv1/gate": 10.0, "conv10": 100.0, "conv1_2": 1000.0})
    found = layer_times(_model(), ["conv1", "conv10"], _model())
    assert found == {"conv1": 1.0, "conv10": 100.0}


def test_the_parts_that_lowering_made_count_for_their_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("conv1/gather.k00", "conv1/gate", "conv1/conv/split.0", *NAMES[3:])
    _fake(monkeypatch, {names[0]: 1.0, names[1]: 10.0, names[2]: 100.0})
    found = layer_times(_model(names), ["conv1", "conv10"], _model())
    assert found == {"conv1": 101.0, "conv10": 0.0}


def test_a_layer_without_a_time_of_its_own_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake(monkeypatch, {"conv1": 1.0, "FusedConv_7": 10.0})
    model = _model()
    assert layer_times(model, ["conv1", "conv10", "gone"], model) == {
        "conv1": 1.0,
        "gone": 0.0,
    }
    changes = {change.name: change for change in layer_changes(model, model, [], model)}
    assert changes["conv1"].latency_ms == (1.0, 1.0)
    assert changes["conv10"].latency_ms is None


def test_fused_operators_are_found_under_the_names_that_onnx_runtime_gives_them() -> None:
    model = _model()
    names = {entry.name for entry in profile_operators(model, runs=1)}
    assert not {"fc", "head"} & names
    found = layer_times(model, ["conv1", "conv10", "fc", "head"], model)
    assert set(found) == {"conv1", "conv10", "fc", "head"}
    assert all(milliseconds > 0 for milliseconds in found.values())
