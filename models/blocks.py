"""The builder of the networks of this package: appends layers with the names of PyTorch.

A module path such as ``layer1.0.conv1`` determines the name of the weight
(``layer1.0.conv1.weight``) and that of the node, as PyTorch's exporter would choose it
(``/layer1/layer1.0/conv1/Conv``).
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs

from acgraph.diagnostics import Location, counted
from acgraph.errors import DataError, UsageError
from acgraph.ir import Array, Model

FloatArray = npt.NDArray[np.float32]
#: Versions of the written files, which ONNX Runtime 1.13 and later supports.
OPSET = 17
IR_VERSION = 8
#: Epsilon of BatchNormalization, PyTorch's default.
BATCHNORM_EPSILON = 1e-5
#: Suffixes of entries of a PyTorch state dict that are not stored in ONNX.
NOT_WEIGHTS = (".num_batches_tracked",)


def node_name(module: str, op_type: str) -> str:
    """Name a node as PyTorch's exporter does.

    A numbered child repeats its parent's label.

    >>> node_name("layer2.0.downsample.0", "Conv")
    '/layer2/layer2.0/downsample/downsample.0/Conv'
    """
    labels: list[str] = []
    for part in filter(None, module.split(".")):
        labels.append(f"{labels[-1]}.{part}" if part.isdigit() and labels else part)
    return "/" + "/".join([*labels, op_type])


def scaled(channels: int, width: float) -> int:
    """Return a scaled channel count, at least 1."""
    return max(1, round(channels * width))


class NetworkBuilder:
    """A network under construction; each method appends a layer and returns its output.

    Values are ``[batch, channels, height, width]`` or ``[batch, features]`` with a dynamic batch.

    Args:
        name: Name of the network in messages and in the file.
        channels: Channels of the input image.
        image: Height and width of the input image.
        keep_batchnorm: Write BatchNormalization nodes. Otherwise they are folded into the
            convolutions before them, as by PyTorch's exporter in evaluation mode.
        weights: Weights by name, as in the ``state_dict`` of the same network in PyTorch, including
            those of folded BatchNorms. None initialises them at random by He's rule.
        seed: Seed of the random weights; each depends on the seed and its own name only.
    """

    def __init__(
        self,
        name: str,
        *,
        channels: int,
        image: int,
        keep_batchnorm: bool,
        weights: Mapping[str, Array] | None,
        seed: int,
    ) -> None:
        self.name = name
        self.input = gs.Variable("input", dtype=np.float32, shape=["batch", channels, image, image])
        self._keep_batchnorm = keep_batchnorm
        self._weights = weights
        self._seed = seed
        self._used: set[str] = set()
        self._nodes: list[gs.Node] = []

    # Layers ------------------------------------------------------------------------------------

    def conv(
        self,
        x: gs.Variable,
        module: str,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        batchnorm: str = "",
    ) -> gs.Variable:
        """Append a convolution, and the BatchNorm that follows it, if any.

        Args:
            x: ``[batch, in, h, w]``.
            module: Module path of the convolution.
            out_channels: Number of filters.
            kernel: Height and width of the kernel, odd.
            stride: Step in both directions.
            padding: Zeros on each side; None for half the kernel, which keeps the size.
            groups: Number of groups.
            batchnorm: Module path of the BatchNorm that follows; then the convolution has no bias.
                Empty where none follows; then the convolution has a bias.
        """
        _, in_channels, height, width = x.shape
        padding = kernel // 2 if padding is None else padding
        shape = (out_channels, in_channels // groups, kernel, kernel)
        # He's rule with the fan-out of one group, as torchvision initialises ResNets.
        fan = out_channels * kernel * kernel // groups
        weight = self._weight(f"{module}.weight", shape, std=float(np.sqrt(2.0 / fan)))
        sizes = [(size + 2 * padding - kernel) // stride + 1 for size in (height, width)]
        fold = bool(batchnorm) and not self._keep_batchnorm
        inputs = [x]
        if fold:
            scale, shift = self._folded_batchnorm(batchnorm, out_channels)
            weight = weight * scale[:, None, None, None]
            inputs += [_constant(f"{module}.weight", weight), _constant(f"{module}.bias", shift)]
        else:
            inputs.append(_constant(f"{module}.weight", weight))
            if not batchnorm:
                bias = self._weight(f"{module}.bias", (out_channels,))
                inputs.append(_constant(f"{module}.bias", bias))
        attrs = {
            "dilations": [1, 1],
            "group": groups,
            "kernel_shape": [kernel, kernel],
            "pads": [padding] * 4,
            "strides": [stride, stride],
        }
        y = self._append("Conv", module, inputs, [out_channels, *sizes], attrs)
        return self._batchnorm(y, batchnorm) if batchnorm and not fold else y

    def linear(self, x: gs.Variable, module: str, out_features: int) -> gs.Variable:
        """Append a fully connected layer; ``x`` is ``[batch, in]``."""
        in_features = x.shape[1]
        std = float(np.sqrt(2.0 / in_features))
        weight = self._weight(f"{module}.weight", (out_features, in_features), std=std)
        bias = self._weight(f"{module}.bias", (out_features,))
        inputs = [x, _constant(f"{module}.weight", weight), _constant(f"{module}.bias", bias)]
        attrs = {"alpha": 1.0, "beta": 1.0, "transB": 1}
        return self._append("Gemm", module, inputs, [out_features], attrs)

    def relu(self, x: gs.Variable, module: str) -> gs.Variable:
        """Append a ReLU."""
        return self._append("Relu", module, [x], list(x.shape[1:]))

    def relu6(self, x: gs.Variable, module: str) -> gs.Variable:
        """Append a ReLU6."""
        name = node_name(module, "Clip")
        bounds = [
            gs.Constant(f"{name}_{bound}", np.array(value, dtype=np.float32))
            for bound, value in (("min", 0.0), ("max", 6.0))
        ]
        return self._append("Clip", module, [x, *bounds], list(x.shape[1:]))

    def add(self, x: gs.Variable, y: gs.Variable, module: str) -> gs.Variable:
        """Append the sum of two values of the same shape."""
        return self._append("Add", module, [x, y], list(x.shape[1:]))

    def max_pool(
        self, x: gs.Variable, module: str, kernel: int, *, stride: int, padding: int = 0
    ) -> gs.Variable:
        """Append a max pooling."""
        channels, *sizes = x.shape[1:]
        out = [(size + 2 * padding - kernel) // stride + 1 for size in sizes]
        attrs = {
            "kernel_shape": [kernel, kernel],
            "pads": [padding] * 4,
            "strides": [stride, stride],
        }
        return self._append("MaxPool", module, [x], [channels, *out], attrs)

    def global_average_pool(self, x: gs.Variable, module: str) -> gs.Variable:
        """Append a global average pooling; height and width become 1."""
        return self._append("GlobalAveragePool", module, [x], [x.shape[1], 1, 1])

    def flatten(self, x: gs.Variable, module: str = "") -> gs.Variable:
        """Append a Flatten to ``[batch, features]``."""
        return self._append("Flatten", module, [x], [int(np.prod(x.shape[1:]))], {"axis": 1})

    def subsample_and_pad(
        self, x: gs.Variable, module: str, out_channels: int, stride: int
    ) -> gs.Variable:
        """Append the shortcut without weights: every ``stride``-th pixel, padded by zero channels.

        Option A of He et al., arXiv:1512.03385, section 4.2. Half of the zero channels come before
        and half after the others, as in the CIFAR ResNets in PyTorch.
        """
        channels, *sizes = x.shape[1:]
        name = node_name(module, "Slice")
        bounds = {
            "starts": [0, 0],
            "ends": [np.iinfo(np.int64).max] * 2,
            "axes": [2, 3],
            "steps": [stride, stride],
        }
        inputs = [x, *(_indices(f"{name}_{key}", values) for key, values in bounds.items())]
        out = [-(-size // stride) for size in sizes]
        y = self._append("Slice", module, inputs, [channels, *out])
        before = (out_channels - channels) // 2
        after = out_channels - channels - before
        pads = _indices(f"{node_name(module, 'Pad')}_pads", [0, before, 0, 0, 0, after, 0, 0])
        return self._append("Pad", module, [y, pads], [out_channels, *out], {"mode": "constant"})

    # The end -----------------------------------------------------------------------------------

    def finish(self, output: gs.Variable) -> Model:
        """Return the network that ends in ``output``.

        Raises:
            DataError: There are weights that the network does not have.
        """
        self._refuse_unused()
        output.name = "output"
        graph = gs.Graph(
            nodes=self._nodes,
            inputs=[self.input],
            outputs=[output],
            name=self.name,
            opset=OPSET,
            ir_version=IR_VERSION,
            producer_name="acgraph",
        )
        return Model(graph=graph, source=self.name)

    def _refuse_unused(self) -> None:
        given = {name for name in self._weights or () if not name.endswith(NOT_WEIGHTS)}
        unused = sorted(given - self._used)
        if unused:
            raise DataError(
                f"the network has no weight {unused[0]!r} ({counted(len(unused), 'unknown name')})",
                location=Location(model=self.name),
                hint="give the weights of the same network and the same options",
            )

    # Parts -------------------------------------------------------------------------------------

    def _append(
        self,
        op_type: str,
        module: str,
        inputs: Sequence[gs.Tensor],
        shape: Sequence[int],
        attrs: Mapping[str, object] | None = None,
    ) -> gs.Variable:
        if min(shape) < 1:
            raise UsageError(
                f"the image is too small: the output of {module} would have shape {list(shape)}",
                location=Location(model=self.name),
                hint="choose a larger image",
            )
        name = node_name(module, op_type)
        taken = {node.name for node in self._nodes}
        number = 1
        while name in taken:  # a module that runs twice, such as the ReLU of a residual block
            name = node_name(f"{module}_{number}", op_type)
            number += 1
        y = gs.Variable(f"{name}_output_0", dtype=np.float32, shape=["batch", *shape])
        node = gs.Node(op_type, name, attrs=dict(attrs or {}), inputs=list(inputs), outputs=[y])
        self._nodes.append(node)
        return y

    def _batchnorm(self, x: gs.Variable, module: str) -> gs.Variable:
        channels = x.shape[1]
        parts = zip(_BATCHNORM_PARTS, self._batchnorm_parts(module, channels), strict=True)
        inputs = [x, *(_constant(f"{module}.{part}", values) for part, values in parts)]
        attrs = {"epsilon": BATCHNORM_EPSILON, "momentum": 0.9}
        return self._append("BatchNormalization", module, inputs, list(x.shape[1:]), attrs)

    def _batchnorm_parts(self, module: str, channels: int) -> list[FloatArray]:
        ones = {"weight", "running_var"}
        return [
            self._weight(f"{module}.{part}", (channels,), fill=float(part in ones))
            for part in _BATCHNORM_PARTS
        ]

    def _folded_batchnorm(self, module: str, channels: int) -> tuple[FloatArray, FloatArray]:
        """Return scale and shift of a BatchNorm in evaluation mode: ``y = scale * x + shift``."""
        gamma, beta, mean, variance = (
            part.astype(np.float64) for part in self._batchnorm_parts(module, channels)
        )
        scale = gamma / np.sqrt(variance + BATCHNORM_EPSILON)
        return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)

    def _weight(
        self, name: str, shape: tuple[int, ...], *, std: float = 0.0, fill: float = 0.0
    ) -> FloatArray:
        """Return the given weight, or initialise it: normal with ``std``, or else all ``fill``."""
        self._used.add(name)
        if self._weights is None:
            if std == 0.0:
                return np.full(shape, fill, dtype=np.float32)
            rng = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
            return rng.normal(0.0, std, shape).astype(np.float32)
        weight = self._weights.get(name)
        if weight is None or weight.shape != shape:
            problem = "is missing" if weight is None else f"has shape {list(weight.shape)}"
            raise DataError(
                f"weight {name!r} {problem}; its shape must be {list(shape)}",
                location=Location(model=self.name),
                hint="give the weights of the same network and the same options",
            )
        return np.asarray(weight, dtype=np.float32)


_BATCHNORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def _constant(name: str, values: FloatArray) -> gs.Constant:
    return gs.Constant(name, np.ascontiguousarray(values))


def _indices(name: str, values: Sequence[int]) -> gs.Constant:
    return gs.Constant(name, np.asarray(values, dtype=np.int64))
