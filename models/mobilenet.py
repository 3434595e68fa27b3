"""MobileNetV2 of Sandler et al., arXiv:1801.04381: inverted residuals, depthwise convolutions."""

from collections.abc import Mapping
from typing import Literal

import onnx_graphsurgeon as gs

from acgraph.ir import Array, Model
from acgraph.models.blocks import NetworkBuilder

#: Expansion, channels, blocks and stride of each stage (table 2 of the paper).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
#: Stages (besides the stem) with stride 1 in the CIFAR variant and stride 2 for ImageNet.
_CIFAR_FULL_SIZE_STAGES = (1,)


def mobilenet_v2(
    *,
    classes: int = 10,
    image: int = 32,
    width: float = 1.0,
    stem: Literal["cifar", "imagenet"] = "cifar",
    keep_batchnorm: bool = True,
    weights: Mapping[str, Array] | None = None,
    seed: int = 0,
) -> Model:
    """Build MobileNetV2.

    Args:
        classes: Number of outputs.
        image: Height and width of the input.
        width: Factor on every channel count, rounded to multiples of 8 as in torchvision; the last
            convolution has at least 1,280 filters.
        stem: ``cifar`` for 32x32 images (stride 1 in the first convolution and the second stage),
            or ``imagenet``.
        keep_batchnorm: False folds each BatchNorm into its convolution.
        weights: Weights by their PyTorch (torchvision) names; None initialises them at random.
        seed: Seed of random weights.

    Raises:
        DataError: A given weight is missing, superfluous or of the wrong shape.
    """
    net = NetworkBuilder(
        "mobilenet_v2",
        channels=3,
        image=image,
        keep_batchnorm=keep_batchnorm,
        weights=weights,
        seed=seed,
    )
    small = stem == "cifar"
    stride = 1 if small else 2
    x = _conv_relu6(net, net.input, "features.0", _divisible(32 * width), 3, stride=stride)
    index = 1
    for number, (expansion, channels, blocks, first_stride) in enumerate(STAGES):
        for block in range(blocks):
            keep_size = block > 0 or (small and number in _CIFAR_FULL_SIZE_STAGES)
            x = _inverted_residual(
                net,
                x,
                f"features.{index}",
                _divisible(channels * width),
                expansion=expansion,
                stride=1 if keep_size else first_stride,
            )
            index += 1
    last = _divisible(1280 * max(1.0, width))
    x = _conv_relu6(net, x, f"features.{index}", last, 1)
    x = net.flatten(net.global_average_pool(x, "avgpool"))
    return net.finish(net.linear(x, "classifier.1", classes))


def _inverted_residual(
    net: NetworkBuilder,
    x: gs.Variable,
    module: str,
    out_channels: int,
    *,
    expansion: int,
    stride: int,
) -> gs.Variable:
    """Append an inverted residual: 1x1 expansion, depthwise 3x3, 1x1 projection, and the sum.

    The input is added where it has the shape of the output.
    """
    hidden = x.shape[1] * expansion
    y, part = x, 0
    if expansion != 1:
        y = _conv_relu6(net, y, f"{module}.conv.{part}", hidden, 1)
        part += 1
    y = _conv_relu6(net, y, f"{module}.conv.{part}", hidden, 3, stride=stride, groups=hidden)
    projection, norm = f"{module}.conv.{part + 1}", f"{module}.conv.{part + 2}"
    y = net.conv(y, projection, out_channels, 1, batchnorm=norm)
    if stride == 1 and x.shape[1] == out_channels:
        return net.add(x, y, module)
    return y


def _conv_relu6(
    net: NetworkBuilder,
    x: gs.Variable,
    module: str,
    out_channels: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
) -> gs.Variable:
    y = net.conv(
        x,
        f"{module}.0",
        out_channels,
        kernel,
        stride=stride,
        groups=groups,
        batchnorm=f"{module}.1",
    )
    return net.relu6(y, f"{module}.2")


def _divisible(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of ``divisor``; rounding down removes at most 10 %."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
