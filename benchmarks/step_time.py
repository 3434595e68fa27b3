"""Time a training step of an ONNX file against the same network written by hand in PyTorch.

    python benchmarks/step_time.py [--networks resnet20 vgg16] [--steps 15] [--write]

Ours is a whole step of ``TorchTrainer.fit``: batch from the loader, forward, loss, backward,
optimizer, checks. By hand it is what a PyTorch tutorial does: forward, loss, backward, optimizer.
All take turns in one process, on the same threads, and medians count. ``--clock cpu`` counts the
seconds that the processor worked, which other programs on the machine disturb less; with one thread
an idle machine gives the same by both clocks. Two comparisons:

* in the mode that training chooses on this host, both sides in that mode: at most 1.05;
* ours in that mode against float32 and contiguous memory by hand: at most 0.8 where the mode helps.

The ResNets are those of ACGRAPH_SHARED (or ../shared), or of `acgraph.models` where it is absent.
``--write`` puts the table into docs/torch.md.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pages import rewrite
from torch import Tensor, nn

from acgraph.backends.torch.modes import PLAIN, Mode
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import TrainConfig
from acgraph.data import ArrayDataset
from acgraph.ir import Model, read_model
from acgraph.models.resnet import resnet_cifar
from acgraph.models.vgg import STAGES, vgg16

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ACGRAPH_SHARED", ROOT / ".." / "shared"))
#: Steps of each that warm up.
WARM_UP = 3
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.is_same = inputs == outputs
        self.side = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if not self.is_same:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.side, self.side))
        return F.relu(out + x)


class ResNet(nn.Module):
    """He et al., arXiv:1512.03385, section 4.2, shortcuts without weights."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        inputs, blocks = 16, []
        for outputs, stride in ((16, 1), (32, 2), (64, 2)):
            for number in range((depth - 2) // 6):
                blocks.append(Block(inputs, outputs, stride if number == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn1(self.conv1(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def vgg16_by_hand() -> nn.Module:
    layers: list[nn.Module] = []
    inputs = 3
    for stage in STAGES:
        for outputs in stage:
            layers += [nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)]
            layers.append(nn.ReLU(inplace=True))
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def resnet(depth: int) -> Model:
    path = SHARED / "models" / f"cifar10_resnet{depth}_bn.onnx"
    if path.exists():
        return read_model(str(path))
    print(f"{path} is absent: the ResNet-{depth} of acgraph.models stands in")
    return resnet_cifar(depth, shortcut="pad")


@dataclass(frozen=True)
class Network:
    title: str
    onnx: Callable[[], Model]
    by_hand: Callable[[], nn.Module]
    batch: int


NETWORKS = {
    "resnet20": Network("ResNet-20", lambda: resnet(20), lambda: ResNet(20), 64),
    "resnet56": Network("ResNet-56", lambda: resnet(56), lambda: ResNet(56), 32),
    "vgg16": Network("VGG-16", vgg16, vgg16_by_hand, 16),
}


class ByHand:
    """A training step as one writes it."""

    def __init__(self, module: nn.Module, mode: Mode, config: TrainConfig) -> None:
        self.layout = torch.channels_last if mode.channels_last else torch.contiguous_format
        self.module = module.train().to(memory_format=self.layout)
        self.is_bf16 = mode.precision == "bf16"
        self.optimizer = torch.optim.SGD(
            module.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=True,
            foreach=True,
        )

    def __call__(self, x: Tensor, y: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.is_bf16):
            outputs = self.module(x.to(memory_format=self.layout))
        loss = F.cross_entropy(outputs.float(), y)
        loss.backward()
        self.optimizer.step()
        loss.item()


@dataclass
class Turns:
    """Progress of our fit: after each of its steps every rival takes one."""

    clock: Callable[[], float]
    x: Tensor
    y: Tensor
    rivals: list[ByHand] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    theirs: list[list[float]] = field(default_factory=list)
    begun: float = 0.0

    def start(self, total_steps: int, description: str) -> None:
        self.theirs = [[] for _ in self.rivals]
        self.begun = self.clock()

    def update(self, step: int, loss: float, images_per_second: float) -> None:
        self.ours.append(self.clock() - self.begun)
        for rival, seconds in zip(self.rivals, self.theirs, strict=True):
            begun = self.clock()
            rival(self.x, self.y)
            seconds.append(self.clock() - begun)
        self.begun = self.clock()

    def finish(self) -> None:
        pass


@dataclass(frozen=True)
class Row:
    title: str
    batch: int
    mode: Mode
    ours: float
    same: float
    plain: float
    ratio: float
    ratio_plain: float

    def __str__(self) -> str:
        seconds = " | ".join(f"{1e3 * s:.0f}" for s in (self.ours, self.same, self.plain))
        return (
            f"| {self.title} | {self.batch} | {self.mode} | {seconds} | {self.ratio:.3f} | "
            f"{self.ratio_plain:.3f} |"
        )


def measure(network: Network, steps: int, threads: int, clock: Callable[[], float]) -> Row:
    count = network.batch
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 3, 32, 32)).astype(np.float32)
    y = rng.integers(0, 10, count)
    config = TrainConfig(
        batch_size=count, augment=False, learning_rate=1e-3, schedule="constant", threads=threads
    )
    turns = Turns(clock, torch.from_numpy(x), torch.from_numpy(y))
    trainer = TorchTrainer(network.onnx(), ArrayDataset(x, y), config=config, progress=turns)
    mode = trainer.choose_mode()
    turns.rivals = [ByHand(network.by_hand(), m, config) for m in (mode, PLAIN)]
    trainer.fit(epochs=WARM_UP + steps)
    ours, same, plain = (np.array(s[WARM_UP:]) for s in (turns.ours, *turns.theirs))
    return Row(
        title=network.title,
        batch=count,
        mode=mode,
        ours=statistics.median(ours),
        same=statistics.median(same),
        plain=statistics.median(plain),
        ratio=statistics.median(ours / same),
        ratio_plain=statistics.median(ours / plain),
    )


def table(rows: list[Row], options: argparse.Namespace) -> str:
    return "\n".join(
        [
            "| network | batch | mode chosen | ours, ms | by hand, same mode, ms "
            "| by hand, fp32 contiguous, ms | ours / same mode | ours / fp32 contiguous |",
            "|---|---|---|---|---|---|---|---|",
            *map(str, rows),
            "",
            f"PyTorch {torch.__version__.partition('+')[0]}, "
            f"{torch.backends.cpu.get_cpu_capability()}, threads: {options.threads}; "
            f"{options.steps} steps each in turn by the {options.clock} clock, medians, ratios are "
            f"medians of pairs; load of the machine {os.getloadavg()[0]:.1f}.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.networks:
        rows.append(measure(NETWORKS[name], options.steps, options.threads, CLOCKS[options.clock]))
        print(rows[-1], flush=True)
    text = table(rows, options)
    print(text)
    if options.write:
        rewrite(ROOT / "docs" / "torch.md", "step_time", text)


if __name__ == "__main__":
    main()
