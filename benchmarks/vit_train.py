"""Train a small hybrid vision transformer on CIFAR-10, for benchmarks/vit.py.

    python benchmarks/vit_train.py cifar10.npz vit.onnx [--minutes 40]

The stem is the first two stages of the trained ResNet-20 of ACGRAPH_SHARED, which stay as they are;
behind it, a patch embedding makes 16 tokens for three transformer blocks of width 128 with 8 heads
and an MLP of 512 (a hybrid as in Dosovitskiy et al., ICLR 2021). A transformer without a trained
stem needs many more images than a CPU sees in this time. Labels and the ResNet-20's logits are
learnt for a given time on one thread, and the result is exported by PyTorch's default exporter.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from cifar import SHARED
from onnx import numpy_helper
from torch import nn
from vit import pixels

from acgraph.backends.ort.session import Session

RESNET = SHARED / "models" / "cifar10_resnet20_folded.onnx"
WIDTH, DEPTH, HEADS, RATIO, CLASSES = 128, 3, 8, 4, 10
BATCH, RATE, WARMUP, TEMPERATURE = 64, 1.2e-3, 150, 2.0


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.added = (outputs - inputs) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        if self.added:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added, self.added))
        return F.relu(x + y)


class Stem(nn.Module):
    """The first two stages of the ResNet-20, with its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1)
        self.layer1 = nn.Sequential(*(Residual(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Residual(16, 32, 2), Residual(32, 32, 1), Residual(32, 32, 1))
        stored = onnx.load(RESNET).graph.initializer
        values = {x.name: torch.tensor(numpy_helper.to_array(x)) for x in stored}
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                norm = f"{name[:-5]}bn{name[-1]}"
                module.weight.data = values[f"ConvBnFusion_W_{name}.weight"]
                module.bias.data = values[f"ConvBnFusion_BN_B_{norm}.bias"]
        self.requires_grad_(requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer2(self.layer1(F.relu(self.conv1(x))))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, RATIO * WIDTH), nn.Linear(RATIO * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, tokens, _ = x.shape
        each = self.qkv(self.norm1(x)).reshape(count, tokens, 3, HEADS, WIDTH // HEADS)
        y = F.scaled_dot_product_attention(*each.permute(2, 0, 3, 1, 4).unbind(0))
        x = x + self.proj(y.transpose(1, 2).reshape(count, tokens, WIDTH))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.embed = Stem(), nn.Conv2d(32, WIDTH, 4, 4)
        self.pos = nn.Parameter(0.02 * torch.randn(1, 16, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(self.stem(x)).flatten(2).transpose(1, 2) + self.pos
        return self.head(self.norm(self.blocks(tokens)).mean(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=40)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    arrays = np.load(given.data)
    labels = torch.from_numpy(arrays["y_train"].ravel().astype(np.int64))
    network = VisionTransformer()
    train(network, arrays["x_train"], labels, 60 * given.minutes)
    torch.onnx.export(
        network.eval(), (torch.randn(2, 3, 32, 32),), str(given.output), dynamo=True,
        input_names=["image"], output_names=["logits"], external_data=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip


def train(network: nn.Module, images: np.ndarray, labels: torch.Tensor, seconds: float) -> None:
    """Train for some time, with the ResNet-20 as a second teacher beside the labels."""
    resnet = Session(RESNET)
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95))
    begin, step, epoch = time.perf_counter(), 0, 0
    while True:
        order = np.random.default_rng(epoch).permutation(len(images))
        for at in range(0, len(order) - BATCH + 1, BATCH):
            done = (time.perf_counter() - begin) / seconds
            if done >= 1:
                return
            for group in optimiser.param_groups:
                falling = 0.5 * (1 + math.cos(math.pi * done))
                group["lr"] = RATE * falling * min(1.0, (step + 1) / WARMUP)
            chosen = order[at : at + BATCH]
            x = pixels(images[chosen])
            logits = torch.from_numpy(resnet.run_raw({resnet.inputs[0].name: x})[0])
            loss = _loss(network(torch.from_numpy(x)), logits, labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()
            step += 1
            if step % 100 == 0:
                print(step, f"{time.perf_counter() - begin:.0f} s", f"{loss.item():.3f}")
        epoch += 1


def _loss(found: torch.Tensor, taught: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    soft = F.kl_div(
        F.log_softmax(found / TEMPERATURE, 1), F.softmax(taught / TEMPERATURE, 1),
        reduction="batchmean",
    )  # fmt: skip
    hard = F.cross_entropy(found, labels, label_smoothing=0.05)
    return 0.5 * hard + 0.5 * TEMPERATURE**2 * soft


if __name__ == "__main__":
    main()
