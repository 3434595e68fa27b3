"""ResNets of He et al., arXiv:1512.03385: those for CIFAR (6n+2 layers) and ResNet-18."""

from collections.abc import Mapping, Sequence
from typing import Literal

import onnx_graphsurgeon as gs

from acgraph.errors import UsageError
from acgraph.ir import Array, Model
from acgraph.models.blocks import NetworkBuilder, scaled

Shortcut = Literal["conv", "pad"]


def resnet_cifar(
    depth: int = 20,
    *,
    classes: int = 10,
    channels: int = 3,
    image: int = 32,
    widths: Sequence[int] = (16, 32, 64),
    strides: Sequence[int] = (1, 2, 2),
    shortcut: Shortcut = "conv",
    keep_batchnorm: bool = True,
    weights: Mapping[str, Array] | None = None,
    seed: int = 0,
) -> Model:
    """Build a ResNet for small images: 8, 14, 20, 56, ... layers in stages of equal depth.

    Args:
        depth: Number of layers, ``2 * stages * n + 2`` with ``n`` blocks per stage.
        classes: Number of outputs.
        channels: Channels of the input.
        image: Height and width of the input.
        widths: Channels of each stage.
        strides: Stride of the first block of each stage.
        shortcut: Shortcut of the first block of a stage: ``conv``, a 1x1 convolution, or ``pad``,
            every second pixel padded by zero channels, without weights.
        keep_batchnorm: False folds each BatchNorm into its convolution.
        weights: Weights by their PyTorch names; None initialises them at random.
        seed: Seed of random weights.

    Raises:
        UsageError: The depth is impossible, or the number of strides is not that of the stages.
        DataError: A given weight is missing, superfluous or of the wrong shape.
    """
    blocks, rest = divmod(depth - 2, 2 * len(widths))
    if rest or blocks < 1:
        raise UsageError(
            f"no ResNet of {len(widths)} stages has {depth} layers",
            hint=f"choose a depth of {2 * len(widths)} * n + 2",
        )
    if len(strides) != len(widths):
        raise UsageError(
            f"{len(widths)} stages cannot have {len(strides)} strides",
            hint="give one stride per stage",
        )
    net = NetworkBuilder(
        f"resnet{depth}",
        channels=channels,
        image=image,
        keep_batchnorm=keep_batchnorm,
        weights=weights,
        seed=seed,
    )
    x = net.conv(net.input, "conv1", widths[0], 3, batchnorm="bn1")
    x = net.relu(x, "relu")
    return net.finish(_body(net, x, widths, strides, blocks, shortcut, classes))


def resnet18(
    *,
    classes: int = 10,
    image: int = 32,
    width: float = 1.0,
    stem: Literal["cifar", "imagenet"] = "cifar",
    keep_batchnorm: bool = True,
    weights: Mapping[str, Array] | None = None,
    seed: int = 0,
) -> Model:
    """Build ResNet-18: four stages of two blocks, 64 to 512 channels.

    Args:
        classes: Number of outputs.
        image: Height and width of the input.
        width: Factor on every channel count.
        stem: ``cifar``, a 3x3 convolution, or ``imagenet``, a 7x7 convolution with stride 2 and a
            3x3 pooling.
        keep_batchnorm: False folds each BatchNorm into its convolution.
        weights: Weights by their PyTorch (torchvision) names; None initialises them at random.
        seed: Seed of random weights.

    Raises:
        DataError: A given weight is missing, superfluous or of the wrong shape.
    """
    net = NetworkBuilder(
        "resnet18",
        channels=3,
        image=image,
        keep_batchnorm=keep_batchnorm,
        weights=weights,
        seed=seed,
    )
    widths = [scaled(channels, width) for channels in (64, 128, 256, 512)]
    large = stem == "imagenet"
    kernel, stride = (7, 2) if large else (3, 1)
    x = net.conv(net.input, "conv1", widths[0], kernel, stride=stride, batchnorm="bn1")
    x = net.relu(x, "relu")
    if large:
        x = net.max_pool(x, "maxpool", 3, stride=2, padding=1)
    return net.finish(_body(net, x, widths, (1, 2, 2, 2), 2, "conv", classes))


def _body(
    net: NetworkBuilder,
    x: gs.Variable,
    widths: Sequence[int],
    strides: Sequence[int],
    blocks: int,
    shortcut: Shortcut,
    classes: int,
) -> gs.Variable:
    """Append the stages, the global average pooling and the classifier."""
    for stage, (width, first_stride) in enumerate(zip(widths, strides, strict=True), start=1):
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            x = _basic_block(net, x, f"layer{stage}.{block}", width, stride, shortcut)
    x = net.flatten(net.global_average_pool(x, "avgpool"))
    return net.linear(x, "fc", classes)


def _basic_block(
    net: NetworkBuilder, x: gs.Variable, module: str, width: int, stride: int, shortcut: Shortcut
) -> gs.Variable:
    y = net.conv(x, f"{module}.conv1", width, 3, stride=stride, batchnorm=f"{module}.bn1")
    y = net.relu(y, f"{module}.relu")
    y = net.conv(y, f"{module}.conv2", width, 3, batchnorm=f"{module}.bn2")
    if stride != 1 or x.shape[1] != width:
        path = f"{module}.downsample"
        if shortcut == "conv":
            x = net.conv(x, f"{path}.0", width, 1, stride=stride, batchnorm=f"{path}.1")
        else:
            x = net.subsample_and_pad(x, path, width, stride)
    return net.relu(net.add(y, x, module), f"{module}.relu")
