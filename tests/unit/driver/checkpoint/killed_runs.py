"""Kill runs at many moments, let each go on, and say how the results differ from a whole run's.

Run as a program: every run is a fork of one process that has loaded all libraries and used none.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from acgraph.backends.torch.loop import Fit
from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.driver.compress import compress
from acgraph.ir import write_bytes

#: What must be equal byte for byte.
RESULTS = ("model.onnx", "model.ort", "masked.onnx", "plan.json")
#: What every run would import by itself.
_LATE = ("torch._dynamo", "onnxruntime.tools.convert_onnx_models_to_ort", "jinja2")


def write_network(path: Path) -> None:
    """Write a small convolutional network of 3 classes."""
    rng = np.random.default_rng(0)
    values: dict[str, np.ndarray] = {"w3": rng.standard_normal((3, 12)) * 0.3, "b3": np.zeros(3)}
    nodes = []
    taken, channels = "x", 2
    for k in (1, 2):
        values[f"w{k}"] = rng.standard_normal((12, channels, 3, 3)) * 0.2
        for name, start in (("scale", 1.0), ("shift", 0.0), ("mean", 0.0), ("var", 1.0)):
            values[f"{name}{k}"] = np.full(12, start)
        norms = [f"{name}{k}" for name in ("scale", "shift", "mean", "var")]
        nodes += [
            helper.make_node("Conv", [taken, f"w{k}"], [f"c{k}"], f"conv{k}", pads=[1] * 4),
            helper.make_node("BatchNormalization", [f"c{k}", *norms], [f"n{k}"], f"norm{k}"),
            helper.make_node("Relu", [f"n{k}"], [f"r{k}"], f"relu{k}"),
        ]
        taken, channels = f"r{k}", 12
    nodes += [
        helper.make_node("GlobalAveragePool", [taken], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], "head", transB=1),
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in values.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def configure(folder: Path, name: str) -> CompressConfig:
    """Two rounds of a second, with purification and fine-tuning."""
    settings = (
        "train.batch_size=16", "train.precision=fp32", "train.channels_last=false",
        "train.augment=false", "train.learning_rate=0.02", "search.evaluations=1",
        "admm.updates=2",
    )  # fmt: skip
    options: dict[str, Any] = {
        "model": str(folder / "net.onnx"), "data": str(folder / "data.npz"), "target_rate": "2x",
        "epochs": 4, "rounds": 2, "criterion": "magnitude", "timing": False, "threads": 1,
        "output": folder / name,
    }  # fmt: skip
    return make_config(options, settings=settings)


def forked(work: Callable[[], None]) -> int:
    """Do something in a child; return its exit status, negative where a signal ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watched(config: CompressConfig, kill_at: int, found: Path | None = None) -> None:
    """Run, and die by a signal right before or right after an event; count them for a whole run.

    An event is a file that appears under its name, or a step of training.

    Args:
        config: What to run.
        kill_at: Twice the number of the event, and one more to die after it.
        found: Where to write how many events there were.
    """
    place, step, events = os.replace, Fit._train_on, 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            nonlocal events
            if kill_at == 2 * events:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments)
            if kill_at == 2 * events + 1:
                os.kill(os.getpid(), signal.SIGKILL)
            events += 1
            return result

        return wrapped

    os.replace = counted(place)
    Fit._train_on = counted(step)  # type: ignore[method-assign]
    try:
        compress(config)
    finally:
        os.replace = place
    if found is not None:
        write_bytes(str(2 * events).encode(), found)


def results(folder: Path) -> dict[str, Any]:
    """Read all that must be equal."""
    report = json.loads((folder / "report.json").read_text())
    for part in (report, *report["rounds"], *report["training"]):
        del part["seconds"]
    return {**{name: (folder / name).read_bytes() for name in RESULTS}, "report": report}


def main(folder: Path, start: int, stride: int) -> None:
    """Print a line for every moment, and what differs, as JSON."""
    for name in _LATE:
        importlib.import_module(name)
    write_network(folder / "net.onnx")
    rng = np.random.default_rng(1)
    x = rng.standard_normal((160, 2, 6, 6)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=(x[:, 0].mean((1, 2)) > 0).astype(np.int64))
    whole = configure(folder, "whole")
    assert forked(lambda: watched(whole, -1, folder / "events")) == 0
    wanted = results(whole.output)
    for moment in range(start, int((folder / "events").read_text()), stride):
        config = configure(folder, f"killed{moment}")
        killed = forked(lambda c=config, m=moment: watched(c, m))
        again = config.model_copy(update={"resume": config.output})
        is_kept = (config.output / "checkpoints" / "state.json").exists()
        code = forked(lambda c=again if is_kept else config: compress(c))
        found = results(config.output) if code == 0 else {}
        other = [name for name in wanted if found.get(name) != wanted[name]]
        left = [p.name for p in config.output.iterdir() if p.name.startswith(".")]
        line = {"moment": moment, "killed": killed, "code": code, "other": other, "left": left}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
