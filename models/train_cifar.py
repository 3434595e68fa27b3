"""Train the paper's networks: ``python -m acgraph.models.train_cifar NETWORK --data FILE.npz``.

VGG-16 and ResNet-18 for CIFAR-10, drawn anew and trained by the trainer that ``compress`` uses.
BatchNormalization stays in the file. docs/paper_networks.md has the commands.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import EpochStats, TrainConfig
from acgraph.data import Dataset, load_dataset
from acgraph.errors import AcgraphError
from acgraph.ir import Model, write_model
from acgraph.models.resnet import resnet18
from acgraph.models.vgg import vgg16

NETWORKS: dict[str, Callable[..., Model]] = {"resnet18": resnet18, "vgg16": vgg16}
#: Of the pixels of the 50,000 training images, by channel.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)

log = logging.getLogger("acgraph.models.train_cifar")


def train(
    network: str,
    data: str,
    *,
    eval_data: str | None = None,
    epochs: float = 200.0,
    config: TrainConfig | None = None,
) -> tuple[Model, float | None]:
    """Train a network from drawn weights.

    Args:
        network: A key of ``NETWORKS``.
        data: Training images, as in ``acgraph.data.load_dataset``.
        eval_data: What to measure accuracy on, after the last pass; None measures nothing.
        epochs: Passes over the training images.
        config: How to train.

    Returns:
        The trained network and its accuracy.

    Raises:
        AcgraphError: the data cannot be read, or training breaks off.
    """
    config = config or recipe()
    model = NETWORKS[network](seed=config.seed)
    test = None if eval_data is None else _open(eval_data, model)
    trainer = TorchTrainer(model, _open(data, model), config=config)
    log.info("%s: training in %s", network, trainer.describe())
    trainer.fit(epochs=epochs, on_epoch=_tell)
    return trainer.model(), None if test is None else trainer.evaluate(test)


def recipe(**options: object) -> TrainConfig:
    """Return the usual recipe of such networks: SGD, one cycle to 0.1, crops and mirror images."""
    stated = {"learning_rate": 0.1, "batch_size": 128, "weight_decay": 5e-4, **options}
    return TrainConfig(**stated)  # type: ignore[arg-type]


def _open(spec: str, model: Model) -> Dataset:
    inputs = [(t.name, t.shape, t.dtype) for t in model.graph.inputs]
    return load_dataset(spec, inputs=inputs, mean=MEAN, std=STD, classes=10)


def _tell(stats: EpochStats) -> None:
    log.info(
        "pass %.3g of %.3g: loss %.4f, %.0f images/s",
        stats.epoch, stats.epochs, stats.loss, stats.images_per_second,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, test and write the network; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument("--data", required=True, metavar="SPEC", help="uint8 images and labels")
    parser.add_argument("--eval-data", metavar="SPEC", help="what to measure accuracy on")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--epochs", type=float, default=200.0)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
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
