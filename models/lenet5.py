"""LeNet-5 in the Caffe variant of the pruning literature: 20 and 50 filters, 500 features."""

from collections.abc import Mapping

from acgraph.ir import Array, Model
from acgraph.models.blocks import NetworkBuilder, scaled


def lenet5(
    *,
    classes: int = 10,
    channels: int = 1,
    image: int = 28,
    width: float = 1.0,
    weights: Mapping[str, Array] | None = None,
    seed: int = 0,
) -> Model:
    """Build LeNet-5: two 5x5 convolutions without padding, each with pooling, and two Gemms.

    Args:
        classes: Number of outputs.
        channels: Channels of the input.
        image: Height and width of the input, at least 16.
        width: Factor on the number of filters and features.
        weights: Weights by their PyTorch names (``conv1.weight``, ..., ``fc2.bias``); None
            initialises them at random.
        seed: Seed of random weights.

    Raises:
        UsageError: The input is too small.
        DataError: A given weight is missing, superfluous or of the wrong shape.
    """
    net = NetworkBuilder(
        "lenet5", channels=channels, image=image, keep_batchnorm=True, weights=weights, seed=seed
    )
    x = net.conv(net.input, "conv1", scaled(20, width), 5, padding=0)
    x = net.max_pool(x, "pool1", 2, stride=2)
    x = net.conv(x, "conv2", scaled(50, width), 5, padding=0)
    x = net.max_pool(x, "pool2", 2, stride=2)
    x = net.relu(net.linear(net.flatten(x), "fc1", scaled(500, width)), "relu")
    return net.finish(net.linear(x, "fc2", classes))
