"""Measure which patterns of columns are worth having, and rewrite their table in docs/lowering.md.

    python benchmarks/column_patterns.py [--cache FILE] [--doc docs/lowering.md]

The network of ``acgraph demo``: the same share of the columns of every layer but the first is kept,
by magnitude under each pattern in turn; the rest is retrained with the masks for one epoch (seed
0, with distillation from the whole network); then accuracy on the 5,000 test images, and latency
of the lowered model beside the whole one, one thread, without NCHWc. Runs that ``--cache`` holds
are not made again.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pages import rewrite

from acgraph.analysis.layers import layers
from acgraph.backends.ort.latency import compare_latency, measure_latency
from acgraph.backends.select import training_backend
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import TrainConfig
from acgraph.data import Dataset, load_dataset
from acgraph.driver.cost.compact import compact
from acgraph.driver.inputs.data import input_specs
from acgraph.driver.inputs.trainable import ready_to_train
from acgraph.driver.latency.chooser import make_chooser
from acgraph.driver.space.columns import zero_columns
from acgraph.ir import Model, read_model, replace_constants
from acgraph.lowering.patterns import PATTERN_CHOICES
from acgraph.models.demo import model_path

KEPT = (0.5, 0.25)
EPOCHS = 1
TRAINING = TrainConfig(learning_rate=0.02, crop=0, seed=0, threads=1, precision="bf16")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one pattern came to at one share."""

    pattern: str
    kept: float
    accuracy: float
    weights: float
    dense_ms: float
    latency_ms: float
    speed_up: float


def data(name: str, model: Model) -> Dataset:
    return load_dataset(f"acgraph.models.demo:{name}", inputs=input_specs(model))


def run(original: Model, train: Dataset, test: Dataset, pattern: str, kept: float) -> Run:
    ready = ready_to_train(original, train, training_backend()).model
    found = layers(ready)
    first = {found[0].weight: ready.constants()[found[0].weight]}
    zero_columns(ready, 1 - kept, pattern=pattern)
    replace_constants(ready, first)  # nine columns of one channel: no pattern to compare
    constants = ready.constants()
    masks = {layer.weight: constants[layer.weight] != 0 for layer in found[1:]}
    trainer = TorchTrainer(ready, train, teacher=original, config=TRAINING)
    trainer.fit(epochs=EPOCHS, masks=masks, description=f"{pattern} {kept:.0%}")
    small, _ = compact(trainer.model(), make_chooser("latency", timing=True))
    before, after = measure_latency([original, small])
    stored = sum(int(mask.sum()) for mask in masks.values())
    return Run(
        pattern=pattern,
        kept=kept,
        accuracy=trainer.evaluate(test),
        weights=stored / sum(mask.size for mask in masks.values()),
        dense_ms=before.p50_ms,
        latency_ms=after.p50_ms,
        speed_up=compare_latency(before, after).median,
    )


def run_all(cache: Path | None) -> list[Run]:
    lines = cache.read_text().splitlines() if cache is not None and cache.exists() else []
    runs = [Run(**json.loads(line)) for line in lines]
    done = {(found.pattern, found.kept) for found in runs}
    original = read_model(model_path())
    train, test = data("train", original), data("test", original)
    for kept in KEPT:
        for pattern in PATTERN_CHOICES:
            if (pattern, kept) in done:
                continue
            runs.append(run(original, train, test, pattern, kept))
            if cache is not None:
                with cache.open("a") as file:
                    file.write(json.dumps(dataclasses.asdict(runs[-1])) + "\n")
    return runs


def table(runs: Sequence[Run]) -> str:
    lines = [
        "| columns kept | " + " | ".join(f"{kept:.0%} | | " for kept in KEPT) + "|",
        "|---|" + "---|---|---|" * len(KEPT),
        "| pattern | " + " | ".join(["accuracy | weights left | faster"] * len(KEPT)) + " |",
    ]
    found = {(entry.pattern, entry.kept): entry for entry in runs}
    for pattern in PATTERN_CHOICES:
        cells = []
        for kept in KEPT:
            entry = found[pattern, kept]
            cells += [
                f"{100 * entry.accuracy:.2f} %",
                f"{entry.weights:.0%}",
                f"{entry.speed_up:.2f}x",
            ]
        lines.append(f"| `{pattern}` | " + " | ".join(cells) + " |")
    dense = float(np.median([entry.dense_ms for entry in runs]))
    return "\n".join([*lines, "", f"The whole network takes {dense:.2f} ms (median)."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, help="JSON lines of runs that are done")
    parser.add_argument("--doc", type=Path, help="rewrite the table in this file")
    options = parser.parse_args()
    text = table(run_all(options.cache))
    print(text)
    if options.doc is not None:
        rewrite(options.doc, "patterns", text)


if __name__ == "__main__":
    main()
