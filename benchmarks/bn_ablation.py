"""Retrain a cut, folded ResNet-20 with BatchNormalization put back and without.

    python benchmarks/bn_ablation.py [--epochs 2] [--cache FILE] [--write]

One plan, one recipe, one number of epochs; only BatchNormalization and the peak learning rate
differ: a network without it may want a smaller one, so both get the same choice of rates. Needs the
folded CIFAR-10 network and the images of ACGRAPH_SHARED (or ../shared). Accuracy is that of the
last epoch on the 5,000 test images, which choose nothing here.

Arms that ``--cache`` holds are not trained again, and an arm that was interrupted goes on from its
last pass, so that a run can be done in parts; ``--no-training`` shows the arms that are done.
``--write`` puts the table into docs/torch.md.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pages import rewrite

from acgraph.analysis.dependency import analyse
from acgraph.backends.select import training_backend
from acgraph.backends.torch.checkpoint import load_checkpoint, save_checkpoint
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import EpochStats, TrainConfig
from acgraph.data import ArrayDataset, Dataset
from acgraph.data.pixels import DEFAULT_SCALE, Pixels
from acgraph.driver.inputs.trainable import ready_to_train
from acgraph.errors import BackendError
from acgraph.ir import Model, clone_model, read_model
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import shrink

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ACGRAPH_SHARED", ROOT / ".." / "shared"))
MODEL = SHARED / "models" / "cifar10_resnet20_folded.onnx"
SPARSITIES = (0.25, 0.5)
LEARNING_RATES = (0.05, 0.01, 0.001)


@dataclass(frozen=True, kw_only=True)
class Arm:
    sparsity: float
    batchnorm: bool
    learning_rate: float
    epochs: float
    images: int

    @property
    def name(self) -> str:
        norm = "bn" if self.batchnorm else "bare"
        return f"{self.sparsity}_{norm}_{self.learning_rate}_{self.epochs}_{self.images}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    arm: Arm
    before: float
    after: float
    loss: float


def arms(epochs: float, images: int) -> Iterator[Arm]:
    for sparsity in SPARSITIES:
        for rate in LEARNING_RATES:
            for batchnorm in (True, False):
                yield Arm(
                    sparsity=sparsity,
                    batchnorm=batchnorm,
                    learning_rate=rate,
                    epochs=epochs,
                    images=images,
                )


def read_data(images: int) -> tuple[Dataset, Dataset]:
    sys.path.insert(0, str(SHARED / "data" / "cifar10"))
    from load import load

    x_train, y_train, x_test, y_test = load()
    pixels = Pixels(
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), scale=DEFAULT_SCALE, layout="NCHW"
    )
    return (
        ArrayDataset(x_train[:images], y_train[:images], pixels=pixels, name="train"),
        ArrayDataset(x_test, y_test, pixels=pixels, name="test"),
    )


def cut(model: Model, sparsity: float) -> Model:
    """Cut the folded network, so that the plan is the same for both arms."""
    prepared = clone_model(model)
    untie_constants(prepared)
    dependency = analyse(prepared)
    return shrink(dependency, magnitude_plan(dependency, prepared.constants(), sparsity)).model


def train(arm: Arm, model: Model, data: tuple[Dataset, Dataset], checkpoint: Path) -> Outcome:
    images, test = data
    small = cut(model, arm.sparsity)
    if arm.batchnorm:
        trainable = ready_to_train(small, images, training_backend())
        small, inserted = trainable.model, trainable.inserted
        if not inserted:
            sys.exit("nothing to compare: no BatchNormalization was put back")
    config = TrainConfig(learning_rate=arm.learning_rate, threads=1)
    trainer = TorchTrainer(small, images, teacher=model, config=config)
    before = trainer.evaluate(test)
    if checkpoint.exists():
        trainer.load_state_dict(load_checkpoint(checkpoint))

    def keep(stats: EpochStats) -> None:
        print(f"{arm.name}: pass {stats.epoch:g}, loss {stats.loss:.4f}", flush=True)
        save_checkpoint(checkpoint, trainer.state_dict())

    try:
        loss = trainer.fit(epochs=arm.epochs, on_epoch=keep).loss
    except BackendError as error:  # diverged: that is a result
        print(f"{arm.name}: {error}", flush=True)
        return Outcome(arm=arm, before=before, after=math.nan, loss=math.nan)
    return Outcome(arm=arm, before=before, after=trainer.evaluate(test), loss=loss)


def run_all(epochs: float, images: int, cache: Path, *, training: bool) -> list[Outcome]:
    done = {outcome.arm: outcome for outcome in read_cache(cache)}
    if not training:
        return [done[arm] for arm in arms(epochs, images) if arm in done]
    model, data = read_model(str(MODEL)), None
    for arm in arms(epochs, images):
        if arm in done:
            continue
        data = data or read_data(images)
        checkpoint = cache.with_name(f"{cache.name}.{arm.name}.ckpt")
        done[arm] = train(arm, model, data, checkpoint)
        with cache.open("a") as file:
            file.write(json.dumps(asdict(done[arm])) + "\n")
        checkpoint.unlink(missing_ok=True)
    return [done[arm] for arm in arms(epochs, images)]


def read_cache(cache: Path) -> list[Outcome]:
    if not cache.exists():
        return []
    rows = [json.loads(line) for line in cache.read_text().splitlines()]
    return [Outcome(**row | {"arm": Arm(**row["arm"])}) for row in rows]


def table(outcomes: list[Outcome]) -> str:
    lines = [
        "| sets removed | peak learning rate | BatchNormalization | accuracy after the cut, % "
        "| after training, % | loss of the last pass |",
        "|---|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        arm = outcome.arm
        accuracy = "diverged" if math.isnan(outcome.after) else f"{100 * outcome.after:.2f}"
        lines.append(
            f"| {arm.sparsity:.0%} | {arm.learning_rate} | {'back' if arm.batchnorm else 'folded'} "
            f"| {100 * outcome.before:.2f} | {accuracy} | {outcome.loss:.3f} |"
        )
    arm = outcomes[0].arm
    missing = sum(1 for _ in arms(arm.epochs, arm.images)) - len(outcomes)
    lines += [
        "",
        f"ResNet-20, folded, CIFAR-10: {arm.epochs:g} passes over {arm.images:,} images, "
        "distillation from the original, seed 0; 5,000 test images, 0.75 points of which are "
        "noise." + (f" {missing} arms have not run." if missing else ""),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--cache", type=Path, default=Path("bn_ablation.jsonl"))
    parser.add_argument("--no-training", dest="training", action="store_false")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if not MODEL.exists():
        sys.exit(f"{MODEL} is absent: set ACGRAPH_SHARED")
    outcomes = run_all(options.epochs, options.images, options.cache, training=options.training)
    if not outcomes:
        sys.exit(f"{options.cache} holds no arm of these options")
    text = table(outcomes)
    print(text)
    if options.write:
        rewrite(ROOT / "docs" / "torch.md", "bn_ablation", text)


if __name__ == "__main__":
    main()
