"""Networks of several inputs: tokens and masks, states, scalars, sizes that differ."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from acgraph.backends.ort.session import Session
from acgraph.config import CompressConfig
from acgraph.driver.compress import compress

Configure = Callable[..., CompressConfig]
RNG = np.random.default_rng(0)


class Tokens(nn.Module):
    """Token ids and a mask, a feed-forward layer, and the mean over what the mask leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.up = nn.Embedding(40, 12), nn.Linear(12, 48)
        self.down, self.head = nn.Linear(48, 12), nn.Linear(12, 6)

    def forward(self, ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        x = self.table(ids)
        x = x + self.down(torch.relu(self.up(x)))
        mask = attention_mask[..., None].float()
        found: torch.Tensor = self.head((x * mask).sum(1) / mask.sum(1))
        return found


class Stream(nn.Module):
    """A part of a signal, the state of an LSTM, and a gain that the batch shares."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.lstm, self.head = nn.Linear(8, 24), nn.LSTM(24, 16), nn.Linear(16, 5)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor, gain: torch.Tensor) -> Any:
        y = torch.relu(self.into(x * gain)).transpose(0, 1)
        y, (h, c) = self.lstm(y, (h, c))
        return self.head(y.transpose(0, 1)), h, c


def _export(
    path: Path, net: nn.Module, args: tuple[Any, ...], names: list[str], **more: Any
) -> str:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter
        torch.onnx.export(net.eval(), args, str(path), input_names=names, dynamo=False, **more)
    return str(path)


def _run(configure: Configure, model: str, data: str, output: Path) -> dict[str, Any]:
    config = configure(
        model=model, data=data, eval_data=None, output=output, metric="macs", target_rate="1.5x",
        epochs=0.5,
    )  # fmt: skip
    compress(config)
    report: dict[str, Any] = json.loads((output / "report.json").read_text())
    return report


def _tokens(tmp_path: Path, batch: bool) -> str:
    ids = torch.zeros(1 if not batch else 2, 7, dtype=torch.int64)
    axes = {name: {0: "batch", 1: "length"} for name in ("ids", "attention_mask")}
    more = {"dynamic_axes": axes} if batch else {}
    args = (ids, torch.ones_like(ids))
    return _export(tmp_path / "t.onnx", Tokens(), args, ["ids", "attention_mask"], **more)


@pytest.mark.parametrize("batch", [False, True])
def test_tokens_and_a_mask(configure: Configure, tmp_path: Path, batch: bool) -> None:
    model = _tokens(tmp_path, batch)
    np.savez(
        tmp_path / "data.npz",
        ids=RNG.integers(0, 40, (48, 7)), attention_mask=np.ones((48, 7), np.int64),
    )  # fmt: skip
    report = _run(configure, model, str(tmp_path / "data.npz"), tmp_path / "out")
    assert report["verify"]["passed"]
    small = Session(tmp_path / "out" / "model.onnx")
    assert [info.name for info in small.inputs] == ["ids", "attention_mask"]


def test_examples_of_several_lengths(configure: Configure, tmp_path: Path) -> None:
    model = _tokens(tmp_path, batch=True)
    (tmp_path / "samples").mkdir()
    for i in range(24):
        ids = RNG.integers(0, 40, 5 + i % 3)
        np.savez(tmp_path / "samples" / f"{i:02}.npz", ids=ids, attention_mask=np.ones_like(ids))
    report = _run(configure, model, str(tmp_path / "samples"), tmp_path / "out")
    assert report["verify"]["passed"]


@pytest.mark.parametrize("data", ["arrays", "noise:40"])
def test_states_and_a_scalar(configure: Configure, tmp_path: Path, data: str) -> None:
    args = (torch.zeros(1, 6, 8), torch.zeros(1, 1, 16), torch.zeros(1, 1, 16), torch.tensor(2.0))
    model = _export(tmp_path / "s.onnx", Stream(), args, ["x", "h", "c", "gain"])
    assert len(onnx.load(model).graph.input) == 4
    if data == "arrays":
        data = str(tmp_path / "data.npz")
        x, h = RNG.standard_normal((40, 6, 8)), RNG.standard_normal((1, 40, 16))
        np.savez(
            data, x=x.astype(np.float32), h=h.astype(np.float32), c=h.astype(np.float32),
            gain=np.float32(2),
        )  # fmt: skip
    report = _run(configure, model, data, tmp_path / "out")
    assert report["verify"]["passed"]
