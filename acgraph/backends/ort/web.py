"""Measure latency in onnxruntime-web, the WebAssembly build for browsers, in Node.js."""

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
from acgraph.diagnostics import Location, on_one_line
from acgraph.errors import BackendError
from acgraph.ir import Array

#: Environment variable with the folder of the npm package, or of its ``node_modules``.
VARIABLE = "ACGRAPH_ORT_WEB"
_HINT = f"run `npm install onnxruntime-web` and set {VARIABLE} to its folder"
_TIMEOUT_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRun:
    """The measurement of one model in onnxruntime-web.

    Attributes:
        latency: Latency of the model.
        load_ms: Milliseconds to create the session from bytes; that of the first model includes
            the start of WebAssembly.
        outputs: Outputs by name, to compare them with those of ONNX Runtime.
        versions: Versions of onnxruntime-web and Node.js.
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
    """Measure the latency of .onnx or .ort files in interleaved runs in one Node.js process.

    Args:
        paths: The files, without external data.
        feeds: Inputs of each model, by name.
        threads: WebAssembly threads.
        runs: Number of samples of each model; None chooses it by ``budget_s``.
        warmup: Number of warm-up runs of each model.
        budget_s: Measuring time per model in seconds.

    Returns:
        One measurement for each file, in their order.

    Raises:
        BackendError: Node.js or onnxruntime-web is not installed, or a model cannot be run.
    """
    node = shutil.which("node")
    if node is None:
        raise BackendError(
            "onnxruntime-web requires Node.js, which is not installed", hint="install Node.js"
        )
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
            f"{VARIABLE} is '{named}', which is not a folder",
            hint="set it to the folder of the npm package onnxruntime-web",
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
            raise BackendError(f"Node.js failed: {error}") from error
    output = folder / "result.json"
    if not output.exists():
        lines = done.stderr.strip().splitlines()
        raise BackendError(f"Node.js failed: {lines[-1] if lines else done.returncode}")
    result: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    if result.get("missing"):
        raise BackendError("onnxruntime-web is not installed", hint=_HINT)
    if "error" in result:
        text = on_one_line(result["error"])
        raise BackendError(f"onnxruntime-web failed: {text}")
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
