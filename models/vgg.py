"""VGG-16 for small images: 13 convolutions with BatchNorm and one classifier."""

from collections.abc import Mapping

from acgraph.ir import Array, Model
from acgraph.models.blocks import NetworkBuilder, scaled

#: Filters of each convolution, by stage; a 2x2 pooling follows each stage.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg16(
    *,
    classes: int = 10,
    image: int = 32,
    width: float = 1.0,
    keep_batchnorm: bool = True,
    weights: Mapping[str, Array] | None = None,
    seed: int = 0,
) -> Model:
    """Build the CIFAR variant of VGG-16 (Simonyan and Zisserman, arXiv:1409.1556).

    Args:
        classes: Number of outputs.
        image: Height and width of the input, at least 32.
        width: Factor on every channel count.
        keep_batchnorm: False folds each BatchNorm into its convolution.
        weights: Weights by their PyTorch names (``features.0.weight``, ...); None initialises them
            at random.
        seed: Seed of random weights.

    Raises:
        UsageError: The input is too small.
        DataError: A given weight is missing, superfluous or of the wrong shape.
    """
    net = NetworkBuilder(
        "vgg16",
        channels=3,
        image=image,
        keep_batchnorm=keep_batchnorm,
        weights=weights,
        seed=seed,
    )
    x = net.input
    index = 0  # in torch.nn.Sequential: convolution, BatchNorm, ReLU, ..., pooling
    for stage in STAGES:
        for filters in stage:
            norm = f"features.{index + 1}"
            x = net.conv(x, f"features.{index}", scaled(filters, width), 3, batchnorm=norm)
            x = net.relu(x, f"features.{index + 2}")
            index += 3
        x = net.max_pool(x, f"features.{index}", 2, stride=2)
        index += 1
    x = net.flatten(net.global_average_pool(x, "avgpool"))
    return net.finish(net.linear(x, "classifier", classes))
