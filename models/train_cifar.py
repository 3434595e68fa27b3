"""Train the paper's networks: ``python -m acgraph.models.train_cifar NETWORK --data FILE.npz``.

VGG-16 and ResNet-18 for CIFAR-10 start from random weights, and the trainer of ``compress`` trains
them. BatchNormalization stays in the file. Training saves a checkpoint after every epoch, and
``--resume`` continues from it. docs/paper_networks.md has the commands.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from acgraph.backends.torch.checkpoint import load_checkpoint, save_checkpoint
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import EpochStats, TrainConfig
from acgraph.data import Dataset, load_dataset
from acgraph.errors import AcgraphError
from acgraph.ir import Model, write_model
from acgraph.models.resnet import resnet18
from acgraph.models.vgg import vgg16

NETWORKS: dict[str, Callable[..., Model]] = {"resnet18": resnet18, "vgg16": vgg16}
#: Default number of epochs.
EPOCHS = 30.0
#: Mean and standard deviation of the pixels of the 50,000 training images, by channel.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)

log = logging.getLogger("acgraph.models.train_cifar")


def train(
    network: str,
    data: str,
    *,
    eval_data: str | None = None,
    epochs: float = EPOCHS,
    config: TrainConfig | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> tuple[Model, float | None]:
    """Train a network from random weights.

    Args:
        network: A key of ``NETWORKS``.
        data: Training images, as in ``acgraph.data.load_dataset``.
        eval_data: Images to measure the accuracy on after training; None to skip this.
        epochs: Number of epochs.
        config: Options of the training; by default `recipe()`.
        checkpoint: File of the training state, written after every epoch.
        resume: Continue from ``checkpoint``, which must come from a run with the same options.

    Returns:
        The trained network and its accuracy; None without ``eval_data``.

    Raises:
        AcgraphError: The data or the checkpoint cannot be read, or training fails.
    """
    config = config or recipe()
    model = NETWORKS[network](seed=config.seed)
    test = None if eval_data is None else _open(eval_data, model)
    trainer = TorchTrainer(model, _open(data, model), config=config)
    if resume and checkpoint is not None:
        trainer.load_state_dict(load_checkpoint(checkpoint))
    log.info("%s: training in %s", network, trainer.describe())

    def after_epoch(stats: EpochStats) -> None:
        _log_progress(stats)
        if checkpoint is not None:
            save_checkpoint(checkpoint, trainer.state_dict())

    result = trainer.fit(epochs=epochs, on_epoch=after_epoch)
    log.info("%s: %d steps in %.0f s", network, result.steps, result.seconds)
    return trainer.model(), None if test is None else trainer.evaluate(test)


def recipe(**options: object) -> TrainConfig:
    """Return options that train such networks well in few epochs.

    SGD with Nesterov momentum, a one-cycle learning rate up to 0.1 with warm-up, label smoothing,
    horizontal flips, crops with reflected borders, random erasing, and an exponential moving
    average of the weights.

    Args:
        **options: Options of ``TrainConfig`` that replace these.
    """
    stated = {
        "learning_rate": 0.1,
        "batch_size": 128,
        "weight_decay": 5e-4,
        "label_smoothing": 0.1,
        "crop_fill": "reflect",
        "erase": 0.5,
        "ema": 0.998,
        **options,
    }
    return TrainConfig(**stated)  # type: ignore[arg-type]


def _open(spec: str, model: Model) -> Dataset:
    inputs = [(t.name, t.shape, t.dtype) for t in model.graph.inputs]
    return load_dataset(spec, inputs=inputs, mean=MEAN, std=STD, classes=10)


def _log_progress(stats: EpochStats) -> None:
    left_s = stats.seconds / stats.epoch * (stats.epochs - stats.epoch)
    log.info(
        "epoch %.3g of %.3g: loss %.4f, %.0f images/s, %.0f s so far, about %.0f s left",
        stats.epoch, stats.epochs, stats.loss, stats.images_per_second, stats.seconds, left_s,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, test and write the network; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument("--data", required=True, metavar="SPEC", help="uint8 images and labels")
    parser.add_argument("--eval-data", metavar="SPEC", help="images to measure the accuracy on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE",
        help="file of the training state, written after every epoch (default: OUTPUT.checkpoint)",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        config = recipe(
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            device=options.device,
            threads=options.threads,
            seed=options.seed,
        )
        model, accuracy = train(
            options.network,
            options.data,
            eval_data=options.eval_data,
            epochs=options.epochs,
            config=config,
            checkpoint=options.checkpoint or options.output.with_suffix(".checkpoint"),
            resume=options.resume,
        )
        written = write_model(model, options.output)
    except AcgraphError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    if accuracy is not None:
        log.info("accuracy: %.2f %%", 100 * accuracy)
    log.info("%s: %d bytes", options.output, written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
