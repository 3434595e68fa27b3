"""Train the network of the demo: ``python -m acgraph.models.train_demo --data DIR -o FILE``.

A ResNet of 8 layers on Fashion-MNIST, trained on all 60,000 images with random crops and flips, SGD
and a one-cycle learning rate. Its BatchNorms are folded, as in most exported files.
"""

import argparse
import logging
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from acgraph.ir import Model, write_model
from acgraph.models.demo import mean, normalise, std
from acgraph.models.fashion_mnist import ByteArray, load_split
from acgraph.models.resnet import resnet_cifar

WIDTHS = (32, 64, 128)
STRIDES = (2, 2, 2)
BATCH = 128
CROP_PADDING = 1
PEAK_LEARNING_RATE = 0.2
WEIGHT_DECAY = 5e-4

log = logging.getLogger(__name__)


class _Block(nn.Module):
    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != width:
            projection = nn.Conv2d(in_channels, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class _Network(nn.Module):
    """The network of ``demo_model``, with the same names."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = nn.Sequential(_Block(WIDTHS[0], WIDTHS[0], STRIDES[0]))
        self.layer2 = nn.Sequential(_Block(WIDTHS[0], WIDTHS[1], STRIDES[1]))
        self.layer3 = nn.Sequential(_Block(WIDTHS[1], WIDTHS[2], STRIDES[2]))
        self.fc = nn.Linear(WIDTHS[2], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits


def demo_model(network: nn.Module) -> Model:
    """Convert a trained ``_Network`` to ONNX, with folded BatchNorm and a dynamic batch."""
    weights = {name: values.detach().numpy() for name, values in network.state_dict().items()}
    return resnet_cifar(
        8,
        channels=1,
        image=28,
        widths=WIDTHS,
        strides=STRIDES,
        keep_batchnorm=False,
        weights=weights,
    )


def train(images: ByteArray, labels: npt.NDArray[np.int64], *, epochs: int, seed: int) -> nn.Module:
    """Train on images ``uint8 [n, 28, 28]`` and labels ``int64 [n]``.

    Returns:
        The trained network, in evaluation mode.
    """
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    x, y = _normalised(images), torch.from_numpy(labels)
    network = _Network()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, total_steps=steps * epochs, pct_start=0.25
    )
    for epoch in range(1, epochs + 1):
        start, total = time.perf_counter(), 0.0
        for rows in torch.randperm(len(x))[: steps * BATCH].view(steps, BATCH):
            batch = _augmented(x[rows]).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(batch)
            loss = F.cross_entropy(logits.float(), y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item()
        log.info(
            "epoch %d of %d: loss %.4f, %.0f s",
            epoch,
            epochs,
            total / steps,
            time.perf_counter() - start,
        )
    network.eval()
    return network


def _augmented(x: torch.Tensor) -> torch.Tensor:
    """Shift each image by up to ``CROP_PADDING`` pixels, and mirror half of them."""
    count, size = x.shape[0], x.shape[-1]
    padded = F.pad(x, [CROP_PADDING] * 4, value=-mean / std)
    top, left = torch.randint(0, 2 * CROP_PADDING + 1, (2, count, 1))
    rows = (top + torch.arange(size))[:, :, None]
    columns = left + torch.arange(size)
    mirrored = torch.rand(count, 1) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)[:, None, :]
    return padded[torch.arange(count)[:, None, None], 0, rows, columns].unsqueeze(1)


def _normalised(images: ByteArray) -> torch.Tensor:
    return torch.from_numpy(normalise(images))


def accuracy(network: nn.Module, images: ByteArray, labels: npt.NDArray[np.int64]) -> float:
    """Return the share of images ``uint8 [n, 28, 28]`` that are classified correctly."""
    with torch.inference_mode():
        parts = [network(part).argmax(1) for part in torch.split(_normalised(images), 500)]
    return float((torch.cat(parts).numpy() == labels).mean())


def main() -> None:
    """Train, test and write the network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the four IDX files")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--epochs", type=int, default=22)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    images, labels = load_split(options.data, "train")
    network = train(images, labels, epochs=options.epochs, seed=options.seed)
    written = write_model(demo_model(network), options.output)
    correct = accuracy(network, *load_split(options.data, "t10k"))
    log.info(
        "%.2f %% of the 10,000 test images; %d bytes in %s", 100 * correct, written, options.output
    )


if __name__ == "__main__":
    main()
