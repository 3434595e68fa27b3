"""What ``prune --data`` keeps of the ResNets on CIFAR-10, nothing trained, beside one fit a layer.

    python benchmarks/oneshot.py [--networks resnet20,resnet56] [--rates 2,4] [--seeds 3]

Each seed draws 1,000 of the training images, without labels. Both sides cut the same filters: those
that ``prune --data`` removes. One side then has each layer fitted once, on what it reads in the
uncut network, and the statistics of BatchNormalization estimated anew, as a round of ``compress``
does before it trains; the other is the file that ``prune --data`` writes. Accuracy is that of all
5,000 test images in ONNX Runtime. Runs that docs/results/oneshot.json holds are not run again; the
table goes to docs/method.md. Needs ACGRAPH_SHARED.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ablations import ROOT
from cifar import MEAN, SHARED, STD, write_images
from pages import rewrite

import acgraph
from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.backends.ort.accuracy import accuracy
from acgraph.backends.ort.session import Session
from acgraph.backends.select import training_backend
from acgraph.backends.training import TrainConfig
from acgraph.data import Dataset, load_dataset
from acgraph.driver.prune.calibration import DataRequest, open_calibration
from acgraph.driver.prune.measured import reweighted
from acgraph.driver.space.reconstruction import measure_layers
from acgraph.ir import Model, clone_model, read_model
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.plan import Plan, zeroed_elements
from acgraph.pruning.shrink import shrink

IMAGES = 1000
RESULTS = ROOT / "docs" / "results" / "oneshot.json"
PIXELS = {
    "mean": [float(part) for part in MEAN.split(",")],
    "std": [float(part) for part in STD.split(",")],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="resnet20,resnet56")
    parser.add_argument("--rates", default="2,4")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = dict(np.load(write_images(Path(folder))))
        for seed in range(given.seeds):
            for network in given.networks.split(","):
                for rate in map(float, given.rates.split(",")):
                    add(network, rate, seed, images)


def add(network: str, rate: float, seed: int, images: dict[str, np.ndarray]) -> None:
    """Run once, unless that was done before."""
    done: list[dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    if any((x["network"], x["rate"], x["seed"]) == (network, rate, seed) for x in done):
        return
    found = run(network, rate, seed, images)
    done = json.loads(RESULTS.read_text()) if RESULTS.exists() else []  # another process may add
    done.append(found)
    done.sort(key=lambda x: (x["network"], x["rate"], x["seed"]))
    RESULTS.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    rewrite(ROOT / "docs" / "method.md", "oneshot", table(done))


def run(network: str, rate: float, seed: int, images: dict[str, np.ndarray]) -> dict[str, Any]:
    """Cut one network and judge both sides."""
    path = SHARED / "models" / f"cifar10_{network}_bn.onnx"
    drawn = np.random.default_rng(seed).permutation(len(images["x_train"]))[:IMAGES]
    data = {"x": images["x_train"][drawn], **PIXELS}
    begin = time.perf_counter()
    result = acgraph.prune(path, data=data, target_rate=rate, seed=seed)
    seconds = time.perf_counter() - begin
    test = {"x": images["x_test"], "y": images["y_test"], **PIXELS}
    found = {
        "network": network,
        "rate": rate,
        "seed": seed,
        "params": result.report.rate("params"),
        "original": original(path, test),
        "once": judge(fitted_once(path, result.report.plan, data, seed), test),
        "in_order": judge(result.model, test),
        "seconds": seconds,
    }
    print(found, flush=True)
    return found


_ORIGINALS: dict[Path, float] = {}


def original(path: Path, test: dict[str, Any]) -> float:
    """Return the accuracy of an original, which is judged once."""
    if path not in _ORIGINALS:
        _ORIGINALS[path] = judge(read_model(path), test)
    return _ORIGINALS[path]


def fitted_once(path: Path, plan: Plan, data: dict[str, Any], seed: int) -> Model:
    """Cut the same, with each layer fitted to what it reads in the uncut network."""
    model = read_model(path)
    dependency = prepared(model)
    with acgraph.data.in_memory.registered_data({"data": data}) as specs:
        request = DataRequest(spec=specs["data"], seed=seed)
        fitted = open_calibration(model, request).fitted
    trainer = training_backend().trainer(
        dependency.model, fitted, teacher=model, config=TrainConfig(seed=seed, augment=False)
    )
    once = measure_layers(dependency, trainer, fitted, seed=seed)
    families = {family.name: family for family in dependency.families}
    zeroed = zeroed_elements(families, plan, dependency.facts.shapes)
    trainer.load_weights(once.reconstruct(trainer.weights(), zeroed))
    trainer.recalibrate(len(fitted) // trainer.config.batch_size)
    return shrink(reweighted(dependency, trainer.weights()), plan).model


def prepared(model: Model) -> DependencyGraph:
    """Analyse a model as ``prune`` does."""
    untied = clone_model(model)
    untie_constants(untied)
    return analyse(untied)


def judge(model: Model, test: dict[str, Any]) -> float:
    """Return the accuracy on all test images."""
    return accuracy(Session(model), opened(test))


def opened(data: dict[str, Any]) -> Dataset:
    """Open images as the networks take them."""
    with acgraph.data.in_memory.registered_data({"data": data}) as specs:
        return load_dataset(specs["data"], inputs=[("input", ("N", 3, 32, 32), np.float32)])


def table(done: Sequence[dict[str, Any]]) -> str:
    """Lay out a row for each network and rate: the mean over seeds, and each."""
    lines = [
        f"CIFAR-10, draws of {IMAGES:,} unlabelled training images, nothing trained; accuracy in % "
        "on all 5,000 test images, the mean and each draw. The seconds are those of a machine that "
        "was busy with other work. By `python benchmarks/oneshot.py`.",
        "",
        "| network | params | original | each layer fitted once | each | in order | each | gain "
        "| seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for network, rate in sorted({(x["network"], x["rate"]) for x in done}):
        rows = [x for x in done if (x["network"], x["rate"]) == (network, rate)]
        once, order = ([100 * x[key] for x in rows] for key in ("once", "in_order"))
        gain = statistics.mean(order) - statistics.mean(once)
        lines.append(
            f"| {network} | {rate:g}x | {100 * rows[0]['original']:.2f} "
            f"| {statistics.mean(once):.2f} | {_each(once)} "
            f"| {statistics.mean(order):.2f} | {_each(order)} | {gain:+.2f} "
            f"| {statistics.mean(x['seconds'] for x in rows):.0f} |"
        )
    return "\n".join(lines)


def _each(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    main()
