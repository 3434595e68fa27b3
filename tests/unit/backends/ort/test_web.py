"""Measurements in onnxruntime-web, and the errors if it or Node.js is not installed."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.session import Session
from acgraph.backends.ort.web import VARIABLE, measure_web
from acgraph.errors import BackendError

HAS_NODE = shutil.which("node") is not None


def test_without_node(net_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(BackendError, match=r"requires Node\.js, which is not installed"):
        measure_web([net_path], [{}])


@pytest.mark.skipif(not HAS_NODE, reason="Node.js is not installed")
def test_without_the_package(
    net_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    feeds = random_inputs(Session(net_path))
    with pytest.raises(BackendError, match="onnxruntime-web is not installed; run `npm install"):
        measure_web([net_path], [feeds])
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    with pytest.raises(BackendError, match="which is not a folder"):
        measure_web([net_path], [feeds])


@pytest.mark.skipif(
    not HAS_NODE or VARIABLE not in os.environ, reason=f"needs node, and {VARIABLE} to be set"
)
def test_outputs_and_samples(net_path: Path, tmp_path: Path) -> None:
    session = Session(net_path)
    feeds = random_inputs(session, batch=2)
    first, second = measure_web([net_path, net_path], [feeds, feeds], runs=3, warmup=1)
    assert first.latency.runs == second.latency.runs == 3
    assert set(first.versions) == {"onnxruntime-web", "node"}
    expected = session.run(feeds)["logits"]
    for run in (first, second):
        np.testing.assert_allclose(run.outputs["logits"], expected, rtol=1e-4, atol=1e-5)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    with pytest.raises(BackendError, match="onnxruntime-web failed: "):
        measure_web([bad], [feeds])
