"""The functions of the package: what they take, what they return, and how they refuse."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import acgraph
from acgraph.data import load_dataset
from acgraph.data.in_memory import registered_data
from acgraph.errors import DataError
from acgraph.ir import proto_from_model

X = np.random.default_rng(0).standard_normal((48, 3, 6, 6)).astype(np.float32)
Y = np.arange(48) % 4
INPUTS = [("x", (1, 3, 6, 6), np.float32)]


@pytest.fixture(scope="module")
def proto(make_net: Any) -> onnx.ModelProto:
    net = make_net()
    x = net.input("n", 3, 6, 6)
    for number, (i, o) in enumerate([(3, 16), (16, 20), (20, 16)]):
        weights = [net.w(o, i, 3, 3, name=f"body.{number}.weight"), net.w(o)]
        x = net.op("Relu", net.op("Conv", x, *weights, name=f"body.{number}", pads=[1] * 4))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.proto(net.gemm(x, 16, 4))


def _bytes(model: acgraph.Model) -> bytes:
    found = proto_from_model(model)
    del found.metadata_props[:]
    return bytes(found.SerializeToString(deterministic=True))


def test_a_model_is_a_path_bytes_a_proto_or_a_model(proto: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(proto, str(tmp_path / "net.onnx"))
    given = [
        tmp_path / "net.onnx", str(tmp_path / "net.onnx"), proto.SerializeToString(), proto,
        acgraph.read_model(tmp_path / "net.onnx"),
    ]  # fmt: skip
    made = {_bytes(acgraph.prune(model, sparsity=0.5).model) for model in given}
    assert len(made) == 1
    before = proto.SerializeToString()
    acgraph.prune(proto)
    assert proto.SerializeToString() == before


def test_compress_in_memory_from_a_proto_and_arrays(
    proto: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "work"))
    result = acgraph.compress(
        proto, data=(X, Y), target_rate=2, keep=["body.1"], epochs=0, evaluations=2,
        no_timing=True, threads=1, set={"train.precision": "fp32"},
    )  # fmt: skip
    assert result.folder is None
    assert list((tmp_path / "work").glob("acgraph*")) == [], "nothing is left behind"
    assert result.report.rate.params > 1.5
    assert result.model.constants()["body.1.weight"].shape == (20, 16, 3, 3)
    folder = result.save(tmp_path / "saved")
    names = {path.name for path in folder.iterdir()}
    assert {"model.onnx", "model.ort", "masked.onnx", "plan.json", "report.html"} <= names
    again = acgraph.apply(proto, folder / "plan.json")
    reloaded = acgraph.read_model(folder / "model.onnx")
    assert [n.op for n in again.model.graph.nodes] == [n.op for n in reloaded.graph.nodes]
    shapes = [sorted(v.shape for v in m.constants().values()) for m in (again.model, reloaded)]
    assert shapes[0] == shapes[1]
    assert acgraph.verify(folder / "model.onnx", result.masked, data=X).passed
    assert repr(result).startswith("CompressResult('")
    assert len(repr(result)) < 200


def test_prune_saves_what_apply_makes_again(proto: onnx.ModelProto, tmp_path: Path) -> None:
    result = acgraph.prune(proto, sparsity=0.5, keep="body.1", layer_rate={"body.2": "1.25x"})
    folder = result.save(tmp_path)
    plan = json.loads((folder / "plan.json").read_text())
    for again in (acgraph.apply(proto, plan), acgraph.prune(proto, plan=folder / "plan.json")):
        assert _bytes(again.model) == _bytes(result.model)
        assert _bytes(again.masked) == _bytes(result.masked)
    assert acgraph.apply(proto, result.plan).model.constants()["body.2.weight"].shape[0] == 13
    assert "13 tensors" not in repr(result.plan)
    assert repr(result.model).startswith("Model('")
    assert len(repr(result.model)) < 120
    assert len(repr(result)) < 250


def test_the_other_commands_return_what_they_print(proto: onnx.ModelProto) -> None:
    found = acgraph.inspect(proto, keep=["body.1"])
    assert [layer.name for layer in found.layers][:3] == ["body.0", "body.1", "body.2"]
    assert "kept by --keep 'body.1'" in [fence.message for fence in found.fences]
    assert any("kept by --keep" in line for line in found.why("body.0"))
    small = acgraph.prune(proto).model
    changed = acgraph.diff(proto, small)
    assert not changed.is_empty
    assert "body.0" in changed.to_text()
    assert acgraph.diff(proto, proto).is_empty
    measured = acgraph.measure(small, proto, runs=3, data=(X, Y), limit=8)
    assert measured.speed_up is not None
    assert measured.model.accuracy is not None
    assert measured.model.cost.params < measured.against.cost.params
    for result in (found, changed, measured, acgraph.verify(small, small)):
        assert len(repr(result)) < 200
        assert type(result).__name__ in acgraph.__all__


def _batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, 48, 20):
        yield X[start : start + 20], Y[start : start + 20]


TENSORS = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))


@pytest.mark.parametrize(
    ("data", "labelled"),
    [
        (X, False), ((X, Y), True), ({"x": X, "y": Y}, True), (torch.from_numpy(X), False),
        (TENSORS, True), (DataLoader(TENSORS, batch_size=20), True), (_batches(), True),
        (_batches, True), (list(X), False), (TensorDataset(torch.from_numpy(X)), False),
        ([{"x": X[i], "y": Y[i]} for i in range(48)], True),
    ],
)  # fmt: skip
def test_data_is_read_from_what_programs_hold(data: Any, labelled: bool) -> None:
    with registered_data({"data": data}) as names:
        dataset = load_dataset(names["data"], inputs=INPUTS)
    assert len(dataset) == 48
    batch = dataset.batch(np.arange(48))
    x, y = batch.x, batch.labels
    assert np.array_equal(x, X)
    assert (y is not None) == labelled
    if labelled:
        assert np.array_equal(y, Y)
    with pytest.raises(DataError):
        load_dataset(names["data"], inputs=INPUTS)  # held no longer


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("compress", {"target_rat": 8}, "no option 'target_rat'; did you mean 'target_rate'"),
        ("prune", {"rate": 2}, "prune has no option 'rate'; did you mean"),
        ("prune", {"sparsity": "much"}, "sparsity: input should be a valid number"),
        ("prune", {"sparsity": 1.5}, "--sparsity is 1.5; give a share of at least 0 and below 1"),
        ("prune", {"keep": 3}, "keep: "),
        ("prune", {"max_layer_rate": 0.5}, "at least 1, not 0.5"),
        ("prune", {"plan": {"axes": 1}}, "is not a plan"),
        ("prune", {"sparsity": 0.5, "plan": {}}, "sparsity is given with a plan"),
        ("compress", {"target_rate": 2, "data": 5}, "a int is not data; give arrays"),
        ("compress", {"target_rate": 2, "data": {"z": X}}, "has an array 'z'"),
        ("compress", {"target_rate": 2, "metric": "flops"}, "metric: input should be 'params'"),
        ("compress", {"target_rate": 2, "set": {"train.lr": 1}}, "no option is named 'train.lr'"),
        ("measure", {"runtime": "phone"}, "runtime: input should be 'ort'"),
    ],
)  # fmt: skip
def test_a_mistake_is_an_error_of_one_line(
    proto: onnx.ModelProto, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((acgraph.UsageError, DataError)) as caught:
        getattr(acgraph, name)(proto, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(acgraph.UsageError, match="a int is not a model; give a path, bytes"):
        acgraph.prune(3)
    with pytest.raises(acgraph.AcgraphError, match="not an ONNX file"):
        acgraph.prune(b"nothing")
    with pytest.raises(acgraph.UsageError, match="prune: missing a required argument: 'model'"):
        acgraph.prune()  # type: ignore[call-arg]


def test_five_lines_in_a_fresh_interpreter(proto: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(proto, str(tmp_path / "net.onnx"))
    code = f"""
import acgraph, numpy, onnx
proto, x = onnx.load({str(tmp_path / "net.onnx")!r}), numpy.ones((32, 3, 6, 6), "float32")
result = acgraph.prune(proto, sparsity=0.5, keep=["body.1"])
folder = result.save({str(tmp_path / "out")!r})
again = acgraph.apply(proto, folder / "plan.json")
assert acgraph.diff(again.model, folder / "model.onnx").is_empty
print(acgraph.verify(again.model, result.masked, data=x))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("VerifyResult(passed"), done.stderr
