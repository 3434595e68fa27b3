"""However a network is written, the same is found in it, and the same comes of it."""

import importlib.util
import io
import logging
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from acgraph.config_merge import make_config
from acgraph.driver.compress import compress
from acgraph.driver.prune import prune
from acgraph.ir import model_from_proto

ROOT = Path(__file__).resolve().parents[3]
ZOO = Path(os.environ.get("ACGRAPH_SHARED", "../shared")) / "zoo"
EXPORTERS = ("legacy", "dynamo")


def _load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


metamorphic = _load(ROOT / "benchmarks/metamorphic.py", "metamorphic")


class Block(nn.Module):
    """Residual, depthwise, chunk and concat, a gate, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.inner = nn.Sequential(
            nn.Conv2d(16, 24, 1),
            nn.ReLU6(),
            nn.Conv2d(24, 24, 3, 1, 1, groups=24),
            nn.Conv2d(24, 16, 1),
        )
        self.left, self.right = nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(20, 16, 3, padding=1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 16, 1), nn.Sigmoid())
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + self.inner(x)
        first, second = x.chunk(2, 1)
        x = torch.relu(self.right(torch.cat([torch.relu(self.left(first)), second], 1)))
        return self.head((x * self.gate(x)).mean((2, 3)))


class Attention(nn.Module):
    """One layer of a transformer, its heads by reshapes, behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.norm = nn.LayerNorm(16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        size, length, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(size, length, 3, 4, 4).permute(2, 0, 3, 1, 4)
        scores = (qkv[0] @ qkv[1].transpose(-2, -1)).softmax(-1)
        x = x + self.out((scores @ qkv[2]).transpose(1, 2).reshape(size, length, width))
        x = x + self.mlp(x)
        return self.head(x.mean(1))


NETS = {"block": Block, "attention": Attention}


@pytest.fixture(scope="module")
def exported() -> dict[tuple[str, str], onnx.ModelProto]:
    return {(name, how): _export(net, how) for name, net in NETS.items() for how in EXPORTERS}


def _export(net: type[nn.Module], how: str) -> onnx.ModelProto:
    torch.manual_seed(0)
    network = net().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    data = io.BytesIO()
    options: dict[str, Any] = {"dynamic_axes": {"x": {0: "n"}}, "dynamo": False}
    if how == "dynamo":
        options = {"dynamic_shapes": ({0: torch.export.Dim("n")},), "dynamo": True}
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network, (torch.zeros(2, 3, 16, 16),), data, input_names=["x"], verbose=False,
                **options,
            )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load_model_from_string(data.getvalue())


def test_the_new_exporter_notes_nodes(exported: dict[Any, onnx.ModelProto]) -> None:
    """What the other tests are about is there."""
    assert any(node.metadata_props for node in exported["block", "dynamo"].graph.node)


@pytest.mark.parametrize("variant", metamorphic.VARIANTS)
def test_the_same_is_found(exported: dict[Any, onnx.ModelProto], variant: str) -> None:
    proto = exported["block", "dynamo"]
    plain = metamorphic.find(metamorphic.without_notes(proto))
    changed = metamorphic.find(metamorphic.VARIANTS[variant](proto))
    assert list(plain.differences(changed)) == []
    assert plain.macs[1] < plain.macs[0]


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("how", EXPORTERS)
def test_the_same_is_found_where_all_is_written_otherwise(
    exported: dict[Any, onnx.ModelProto], net: str, how: str
) -> None:
    proto = exported[net, how]
    plain = metamorphic.find(metamorphic.without_notes(proto))
    assert metamorphic.compare(plain, proto, metamorphic.TOGETHER) == []
    assert plain.macs[1] < plain.macs[0]


@pytest.mark.parametrize("net", NETS)
def test_both_exporters_come_to_the_same_cut(
    exported: dict[Any, onnx.ModelProto], net: str
) -> None:
    results = [prune(model_from_proto(exported[net, how])) for how in EXPORTERS]
    old, new = ((r.before.macs, r.after.macs) for r in results)
    assert old == new
    # Constants of sizes differ, weights do not.
    rates = [r.before.params / r.after.params for r in results]
    assert rates[1] == pytest.approx(rates[0], rel=0.02)
    assert not any(r.before.unknown or r.after.unknown or r.remarks for r in results)


@pytest.mark.parametrize("name", ["mobilenet_v3_small.dynamo", "shufflenet_v2_x1_0.legacy"])
def test_the_same_is_found_in_a_graph_of_the_zoo(name: str) -> None:
    if not ZOO.is_dir():
        pytest.skip(f"no zoo at {ZOO}: set ACGRAPH_SHARED")
    proto = _load(ZOO / "zoo.py", "zoo").load(name)
    plain = metamorphic.find(metamorphic.without_notes(proto))
    changed = metamorphic.find(metamorphic.TOGETHER["all"](proto))
    assert list(plain.differences(changed)) == []


def _compressed(proto: onnx.ModelProto, folder: Path) -> tuple[int, int]:
    folder.mkdir()
    onnx.save(proto, str(folder / "m.onnx"))
    config = make_config(
        {
            "model": str(folder / "m.onnx"), "target_rate": "2x", "data": "noise:64", "epochs": 1,
            "rounds": 1, "timing": False, "threads": 1, "output": folder / "out",
        },
        settings=("search.evaluations=2", "admm.updates=1", "train.precision=fp32",
                  "train.batch_size=16", "train.channels_last=false"),
    )  # fmt: skip
    report = compress(config)
    assert report.verify.shows_equivalence
    assert report.target.met
    return report.after.params, report.after.macs


def test_the_same_comes_of_compress(exported: dict[Any, onnx.ModelProto], tmp_path: Path) -> None:
    proto = exported["block", "dynamo"]
    plain = _compressed(metamorphic.without_notes(proto), tmp_path / "plain")
    assert _compressed(metamorphic.with_notes(proto), tmp_path / "noted") == plain
    _, macs = _compressed(metamorphic.TOGETHER["all"](proto), tmp_path / "all")
    assert macs == pytest.approx(plain[1], rel=0.05)
