"""Kill one seeded run 25 times at random moments, resume it, and compare the results.

Usage: python benchmarks/kills.py [COUNT] [SEED]

The run is ``compress --no-timing`` on a small network: two rounds of search, ADMM and retraining,
then purification, fine-tuning and the export. The kills, by SIGKILL, are spread over its phases;
the moment within a phase is random. After a kill, no file of the results may be there in part. The
run is then resumed (or started again if it was killed before its first checkpoint), and must end
with the bytes of a run that was not killed, apart from the durations in ``report.json``. Each run
is a fork of one process that has loaded the libraries. The exit code is 1 if anything differs.
"""

import collections
import importlib
import json
import logging
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.driver import compress as driver
from acgraph.driver.pipeline import Stage
from acgraph.driver.results.folder import RESULTS
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State
from acgraph.ir import write_model
from acgraph.models.resnet import resnet_cifar

COUNT, SEED = 25, 0
#: What every run would import by itself.
_LATE = ("torch._dynamo", "onnxruntime.tools.convert_onnx_models_to_ort", "jinja2")
#: The phase of a stage; within rounds, what is not training is the search, and the cut.
_PHASES = {"round": "search", "lower": "export", "verify": "export", "measure": "export"}

#: Phases that take most of a long run, and are killed twice as often as others.
_OFTEN = ("search", "training", "export")


class Progress:
    """Tells when training begins and ends.

    Attributes:
        tell: Called with the name of a phase.
        stage: The phase of the current stage.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell, self.stage = tell, ""

    def enter(self, stage: str) -> None:
        """Note that a stage begins."""
        self.stage = _PHASES.get(stage, stage)
        self.tell(self.stage)

    def start(self, total: int, description: str) -> None:
        """Note that training begins."""
        self.tell("training")

    def update(self, steps: int, loss: float, images_per_second: float) -> None:
        """Ignore a step."""

    def finish(self) -> None:
        """Note that training ends."""
        self.tell(self.stage)


def configure(folder: Path, name: str) -> CompressConfig:
    """Return the options of the run, with an output folder of its own."""
    settings = (
        "train.batch_size=32", "train.learning_rate=0.02", "search.evaluations=6",
        "search.recalibrate=1", "admm.updates=2",
    )  # fmt: skip
    options = {
        "model": str(folder / "net.onnx"), "data": str(folder / "data.npz"), "target_rate": "3x",
        "epochs": 6, "rounds": 2, "criterion": "magnitude", "timing": False, "threads": 1,
        "seed": 3, "output": folder / name,
    }  # fmt: skip
    return make_config(options, settings=settings)


def start(config: CompressConfig) -> tuple[int, int]:
    """Run in a child; return its process, and a pipe from which the phases can be read."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 1
    try:
        os.close(reading)
        progress = Progress(lambda phase: os.write(writing, f"{phase}\n".encode()) and None)
        driver.TRAINING = tuple(_told(stage, progress) for stage in driver.TRAINING)
        driver.WRITING = tuple(_told(stage, progress) for stage in driver.WRITING)
        driver.compress(config, progress, lambda _: None)
        code = 0
    finally:
        os._exit(code)


def _told(stage: Stage, progress: Progress) -> Stage:
    def run(context: Context, state: State) -> State:
        progress.enter(stage.name)
        return stage.run(context, state)

    return replace(stage, run=run)


def follow(
    config: CompressConfig, kill_in: str = "", after_s: float = 0.0
) -> tuple[int, dict[str, float]]:
    """Run, and kill the run after some time in a phase.

    Returns:
        The exit status, negative where a signal ended the run; and the seconds of each phase.
    """
    child, pipe = start(config)
    spent: dict[str, float] = collections.defaultdict(float)
    phase, last, is_open = "start", time.perf_counter(), True
    while is_open:
        left = after_s - spent[kill_in] if phase == kill_in else None
        ready, _, _ = select.select([pipe], [], [], None if left is None else max(left, 0.0))
        now = time.perf_counter()
        spent[phase] += now - last
        last = now
        if not ready:
            os.kill(child, signal.SIGKILL)
            break
        text = os.read(pipe, 1 << 16).decode()
        is_open = bool(text)
        phase = text.split("\n")[-2] if is_open else phase
    os.close(pipe)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), dict(spent)


def results(folder: Path) -> dict[str, Any]:
    """Read all that must be equal."""
    found: dict[str, Any] = {
        name: (folder / name).read_bytes()
        for name in RESULTS
        if (folder / name).exists() and not name.startswith("report.")
    }
    report = json.loads((folder / "report.json").read_text())
    for part in (report, *report["rounds"], *report["training"]):
        del part["seconds"]
    return {**found, "report.json": report}


def torn(folder: Path, wanted: dict[str, Any]) -> list[str]:
    """Return the results that are there after a kill, and are not whole."""
    bad = [
        name
        for name, content in wanted.items()
        if (folder / name).exists()
        and name != "report.json"
        and (folder / name).read_bytes() != content
    ]
    if (folder / "report.json").exists() and results(folder) != wanted:
        bad.append("report.json")
    return bad


def kill_and_resume(
    folder: Path, name: str, phase: str, after_s: float, wanted: dict[str, Any]
) -> dict[str, Any] | None:
    """Kill a run, let it go on, and compare; None if the run ended before it was killed."""
    config = configure(folder, name)
    code, spent = follow(config, phase, after_s)
    if code != -signal.SIGKILL:
        return None
    partial = torn(config.output, wanted)
    is_kept = (config.output / "checkpoints" / "state.json").exists()
    again = config.model_copy(update={"resume": config.output}) if is_kept else config
    code, _ = follow(again)
    found = results(config.output) if code == 0 else {}
    return {
        "phase": phase, "at_s": round(sum(spent.values()), 2), "resumed": is_kept, "code": code,
        "partial": partial,
        "different": [key for key in wanted if found.get(key) != wanted[key]],
        "left": [path.name for path in config.output.iterdir() if path.name.startswith(".")],
    }  # fmt: skip


def main(count: int, seed: int) -> int:
    """Run once, kill ``count`` runs, and print a line for each, and the sums."""
    for name in _LATE:
        importlib.import_module(name)
    rng, numbers = random.Random(seed), np.random.default_rng(seed)
    lines: list[dict[str, Any]] = []
    tries = 0
    logging.getLogger("acgraph").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        folder = Path(place)
        os.environ["ACGRAPH_CACHE"] = str(folder / "cache")
        write_model(resnet_cifar(8, widths=(8, 12, 16), image=8), folder / "net.onnx")
        x = numbers.standard_normal((320, 3, 8, 8)).astype(np.float32)
        np.savez(folder / "data.npz", x=x, y=(x[:, 0].mean((1, 2)) > 0).astype(np.int64))
        code, spent = follow(configure(folder, "whole"))
        assert code == 0, "the run that is not killed failed"
        wanted = results(folder / "whole")
        shown = ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in spent.items())
        print(f"not killed: {', '.join(wanted)}; {shown}", flush=True)
        phases = [*(phase for phase in spent if phase != "start"), *_OFTEN]
        while len(lines) < count:
            phase = phases[len(lines) % len(phases)]
            after_s, tries = rng.uniform(0, spent[phase]), tries + 1
            line = kill_and_resume(folder, f"killed{tries}", phase, after_s, wanted)
            if line is None:
                continue  # it was faster this time
            print(json.dumps(line), flush=True)
            lines.append(line)
    good = [
        line
        for line in lines
        if (line["code"], line["partial"], line["different"], line["left"]) == (0, [], [], [])
    ]
    counts = collections.Counter(line["phase"] for line in lines)
    print(f"{len(good)} of {len(lines)} kills ended with equal results; nothing partial was left "
          f"in {sum(not line['partial'] for line in lines)}; kills by phase: "
          + ", ".join(f"{phase} {number}" for phase, number in counts.items()))  # fmt: skip
    return 0 if len(good) == len(lines) else 1


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in [*sys.argv[1:], COUNT, SEED][:2])))
