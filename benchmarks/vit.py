"""Half of the MLP widths and of the features of all heads of a vision transformer, nothing trained.

    python benchmarks/vit.py vit.onnx cifar10.npz [--images 1000] [--seeds 3] [--healed small.onnx]
        [--note TEXT] [--write]

``benchmarks/vit_train.py`` trains such a network, and ``../shared/data/cifar10/load.py`` writes the
images. Each seed draws that many training images, without labels. Compared are a cut by magnitude,
``prune --data`` with the features of heads in the basis of the file, and ``prune --data``. The
convolutions before the transformer are not cut. Accuracy is that of all test images in ONNX
Runtime. ``--healed`` adds a file that ``compress`` wrote. With ``--write``, the results go to
docs/results/vit.json, and the table to docs/method.md.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from ablations import ROOT
from cifar import MEAN, STD
from pages import rewrite

import acgraph
from acgraph.backends.ort.session import Session
from acgraph.ir import Model, read_model

RESULTS = ROOT / "docs" / "results" / "vit.json"
KEEP = "stem*"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--healed", type=Path)
    parser.add_argument("--note", default="")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    arrays = np.load(given.data)
    train, test = pixels(arrays["x_train"]), pixels(arrays["x_test"])
    labels = arrays["y_test"].ravel()

    def judge(model: Model) -> float:
        return 100 * float((classes(model, test) == labels).mean())

    original = read_model(given.model)
    params = acgraph.inspect(original).cost.params
    found: dict[str, Any] = {
        "network": given.model.stem, "params": params, "images": given.images,
        "test_images": len(test), "sparsity": given.sparsity, "original": judge(original),
        "runs": [], "note": given.note,
    }  # fmt: skip
    plain = acgraph.prune(given.model, sparsity=given.sparsity, keep=KEEP)
    found["rate"] = plain.report.rate("params")
    found["magnitude"] = judge(plain.model)
    print(found, flush=True)
    for seed in range(given.seeds):
        drawn = np.random.default_rng(seed).permutation(len(train))[: given.images]
        found["runs"].append(run(given, train[drawn], seed, judge))
        print(found["runs"][-1], flush=True)
    if given.healed is not None:
        healed = read_model(given.healed)
        rate = params / acgraph.inspect(healed).cost.params
        found["healed"] = {"accuracy": judge(healed), "rate": rate}
        print(found["healed"], flush=True)
    if given.write:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        rewrite(ROOT / "docs" / "method.md", "vit", table(found))


def run(
    given: argparse.Namespace, images: np.ndarray, seed: int, judge: Callable[[Model], float]
) -> dict[str, Any]:
    """Cut once by measurement, with and without a change of the basis of heads."""
    found: dict[str, Any] = {"seed": seed}

    def cut() -> float:
        options = {"sparsity": given.sparsity, "keep": KEEP, "seed": seed}
        return judge(acgraph.prune(given.model, data=images, **options).model)

    with patch("acgraph.driver.prune.measured.order_features", lambda *args, **kwargs: {}):
        found["own_basis"] = cut()
    begin = time.perf_counter()
    found["refitted"] = cut()
    found["seconds"] = time.perf_counter() - begin
    return found


def pixels(images: np.ndarray) -> np.ndarray:
    """Normalise images of ``uint8 [N, 32, 32, 3]``."""
    mean, std = (np.array(text.split(","), np.float32) for text in (MEAN, STD))
    return ((images.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2).copy()


def classes(model: Model, images: np.ndarray) -> np.ndarray:
    """Return the class of each image."""
    session = Session(model)
    name = session.inputs[0].name
    parts = [
        session.run_raw({name: images[at : at + 250]})[0].argmax(axis=1)
        for at in range(0, len(images), 250)
    ]
    return np.concatenate(parts)


def table(found: dict[str, Any]) -> str:
    """Lay out the accuracies, and their difference from the original."""
    share = f"{100 * found['sparsity']:g} %"
    lines = [
        f"CIFAR-10: {share} of the MLP widths and of the features of every head cut "
        f"({found['rate']:.2f}x fewer parameters in all), draws of {found['images']:,} unlabelled "
        f"training images, nothing trained. Accuracy in % on {found['test_images']:,} test images, "
        f"the mean and each draw. {found['note']} By `python benchmarks/vit.py`.",
        "",
        "| | accuracy | difference | each |",
        "|---|---|---|---|",
        _row("original", [found["original"]], found),
        _row("by magnitude", [found["magnitude"]], found),
    ]
    for key, name in (
        ("own_basis", "measured and refitted, heads in the basis of the file"),
        ("refitted", "`prune --data`"),
    ):
        if found["runs"]:
            lines.append(_row(name, [run[key] for run in found["runs"]], found))
    if "healed" in found:
        name = f"`compress` ({found['healed']['rate']:.2f}x), no labels"
        lines.append(_row(name, [found["healed"]["accuracy"]], found))
    return "\n".join(lines)


def _row(name: str, values: Sequence[float], found: dict[str, Any]) -> str:
    mean = statistics.mean(values)
    each = ", ".join(f"{value:.2f}" for value in values)
    return f"| {name} | {mean:.2f} | {mean - found['original']:+.2f} | {each} |"


if __name__ == "__main__":
    main()
