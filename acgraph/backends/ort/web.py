"""Latency in onnxruntime-web, the WebAssembly build, inside node: what a browser would take."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from acgraph.backends.ort.latency import (
    BUDGET_S,
    MAX_RUNS,
    MIN_RUNS,
    MIN_SAMPLE_S,
    Latency,
    latency_from_samples,
)
from acgraph.diagnostics import Location
from acgraph.errors import BackendError
from acgraph.ir import Array

#: Names the folder of the npm package, or one that has it in ``node_modules``.
VARIABLE = "ACGRAPH_ORT_WEB"
_HINT = f"run `npm install onnxruntime-web` and name its folder in {VARIABLE}"
_TIMEOUT_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRun:
    """One model in onnxruntime-web.

    Attributes:
        latency: Its latency.
        load_ms: Milliseconds from bytes to a session; the first model pays for starting
            WebAssembly.
        outputs: What it made of its inputs, to be compared with ONNX Runtime.
        versions: Of onnxruntime-web and node.
    """

    latency: Latency
    load_ms: float
    outputs: dict[str, Array]
    versions: dict[str, str]


def measure_web(
    paths: Sequence[str | os.PathLike[str]],
    feeds: Sequence[Mapping[str, Array]],
    *,
    threads: int = 1,
    runs: int | None = None,
    warmup: int = 3,
    budget_s: float = BUDGET_S,
) -> list[WebRun]:
    """Measure .onnx or .ort files against each other, interleaved, in one node process.

    Args:
        paths: The files; weights must be inside them.
        feeds: Inputs of each.
        threads: WebAssembly threads.
        runs: Samples of each; chosen by ``budget_s`` where it is None.
        warmup: Runs of each before the clock starts.
        budget_s: Time for each model, in seconds.

    Raises:
        BackendError: node or onnxruntime-web is not there, or it cannot run a model.
    """
    node = shutil.which("node")
    if node is None:
        raise BackendError("onnxruntime-web needs node, which is not there", hint="install node")
    with tempfile.TemporaryDirectory(prefix="acgraph-web-") as name:
        folder = Path(name)
        request = {
            "search": _search_folders(),
            "threads": threads,
            "runs": runs,
            "warmup": warmup,
            "budget_ms": budget_s * 1e3,
            "min_runs": MIN_RUNS,
            "max_runs": MAX_RUNS,
            "min_sample_ms": MIN_SAMPLE_S * 1e3,
            "models": [
                {"path": str(Path(path).resolve()), "feeds": _write_feeds(values, folder, index)}
                for index, (path, values) in enumerate(zip(paths, feeds, strict=True))
            ],
        }
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        result = _run_node(node, folder)
        return [_read_run(entry, result, folder) for entry in result["models"]]


def _search_folders() -> list[str]:
    named = os.environ.get(VARIABLE)
    if named is None:
        return [str(Path.cwd())]
    if not Path(named).is_dir():
        raise BackendError(
            f"{VARIABLE} names '{named}', which is no folder",
            hint="name the folder of the npm package onnxruntime-web",
        )
    return [str(Path(named).resolve())]


def _write_feeds(feeds: Mapping[str, Array], folder: Path, index: int) -> list[dict[str, Any]]:
    entries = []
    for number, (name, array) in enumerate(feeds.items()):
        file = f"input-{index}-{number}.bin"
        if array.dtype.kind not in "fiub" or array.dtype == np.float16:
            raise BackendError(
                f"inputs of type {array.dtype} are not supported in onnxruntime-web",
                location=Location(value=name),
            )
        (folder / file).write_bytes(np.ascontiguousarray(array).tobytes())
        entries.append(
            {"name": name, "dtype": array.dtype.name, "dims": list(array.shape), "file": file}
        )
    return entries


def _run_node(node: str, folder: Path) -> dict[str, Any]:
    script = resources.files("acgraph.backends.ort") / "web_runner.mjs"
    with resources.as_file(script) as path:
        command = [node, str(path), str(folder / "request.json"), str(folder / "result.json")]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BackendError(f"node failed: {error}") from error
    answer = folder / "result.json"
    if not answer.exists():
        lines = done.stderr.strip().splitlines()
        raise BackendError(f"node failed: {lines[-1] if lines else done.returncode}")
    result: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if result.get("missing"):
        raise BackendError("onnxruntime-web is not there", hint=_HINT)
    if "error" in result:
        text = " ".join(str(result["error"]).split())[:300]
        raise BackendError(f"onnxruntime-web fails: {text}")
    return result


def _read_run(entry: dict[str, Any], result: dict[str, Any], folder: Path) -> WebRun:
    outputs = {}
    for output in entry["outputs"]:
        data = (folder / output["file"]).read_bytes()
        outputs[output["name"]] = np.frombuffer(data, output["dtype"]).reshape(output["dims"])
    return WebRun(
        latency=latency_from_samples(entry["samples_ms"]),
        load_ms=entry["load_ms"],
        outputs=outputs,
        versions={"onnxruntime-web": result["version"], "node": result["node"].lstrip("v")},
    )
