"""Feature distillation: a loss on intermediate tensors of the student and the teacher.

A few tensors of the same name are compared as attention maps (Zagoruyko and Komodakis, arXiv
1612.03928): the mean of the squares over the channels, normalised to unit length in each image. The
maps of a student with fewer channels have the same size as the teacher's.
"""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs
import torch
import torch.nn.functional as F
from torch import Tensor

from acgraph.backends.torch.batch import with_batch
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.losses import Loss, Mix, Outputs
from acgraph.errors import UsageError
from acgraph.ir.constants import resolved_constant
from acgraph.operators import Trait, operators_with

log = logging.getLogger(__name__)

#: Largest number of tensors that are compared.
MAX_TENSORS = 4
#: Operators whose data input is ``[N, C, positions ...]`` by definition.
_SPATIAL = operators_with(Trait.SPATIAL)
#: Two batch sizes, to find the tensors whose first axis is the batch.
_BATCHES = (2, 3)

Size = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Feature:
    """An intermediate tensor that both networks have.

    Attributes:
        name: Name of the tensor.
        channel_axis: Axis over which the attention map is the mean: 1 or -1.
    """

    name: str
    channel_axis: int


def choose_features(student: GraphModule, teacher: GraphModule, x: Inputs) -> tuple[Feature, ...]:
    """Choose the tensors to compare: at most four, evenly spaced up to the deepest candidate.

    The candidates are the last tensor of each resolution, which is the input of a convolution or
    pooling that changes the number of positions, and tensors that are normalised over their last
    axis, as in transformers.

    Args:
        student: The network that is trained, on its device.
        teacher: The teacher.
        x: An example.

    Raises:
        UsageError: No candidate with more than one position has the same positions in both
            networks.
    """
    fixed = student.fixed_batch or teacher.fixed_batch
    counts = _BATCHES if fixed is None else (fixed,)
    mine, theirs = (_sizes_per_image(module, x, counts) for module in (student, teacher))
    places: dict[Size | str, Feature] = {}
    for node, name in _after_weights(student):
        size = mine.get(name, ())
        axis = _channel_axis(node, len(size) + 1)
        if axis is None:
            continue
        positions = _positions(size, axis)
        if not positions or positions != _positions(theirs.get(name, ()), axis):
            continue
        if axis == -1:
            places[name] = Feature(name, axis)
        elif positions != mine.get(node.outputs[0].name, ())[1:]:
            places.pop(positions, None)  # keep the order of the last tensor of each resolution
            places[positions] = Feature(name, axis)
    found = list(places.values())
    if not found:
        raise UsageError(
            "train.feature_weight is given, but the network and its teacher have no tensor of the "
            "same name and positions to compare",
            hint="leave train.feature_weight at 0",
        )
    count = min(MAX_TENSORS, len(found))
    chosen = tuple(found[-(-number * len(found) // count) - 1] for number in range(1, count + 1))
    log.info("feature distillation at %s", ", ".join(feature.name for feature in chosen))
    return chosen


def _sizes_per_image(module: GraphModule, x: Inputs, counts: Sequence[int]) -> dict[str, Size]:
    """Return the sizes, without the batch axis, of the tensors whose first axis is the batch."""
    found: dict[str, Size] | None = None
    for count in counts:
        tensors = map(with_batch, x.tensors, itertools.repeat(count), x.axes)
        sizes = module.tensor_sizes(*tensors)
        now = {name: size[1:] for name, size in sizes.items() if size and size[0] == count}
        found = now if found is None else {k: v for k, v in found.items() if now.get(k) == v}
    return found or {}


def _after_weights(module: GraphModule) -> Iterator[tuple[gs.Node, str]]:
    """Yield each node whose first input depends on a weight, with the name of that input."""
    weights, made = set(module.parameter_names().values()), set[str]()
    for node, inputs in module.walk():
        if inputs and inputs[0] in made:
            yield node, inputs[0]
        if not (weights | made).isdisjoint(inputs):
            made.update(tensor.name for tensor in node.outputs)


def _channel_axis(node: gs.Node, rank: int) -> int | None:
    """Return the channel axis of a node's first input; None if it is not known."""
    if node.op in _SPATIAL:
        return 1
    if node.op == "LayerNormalization":
        return -1 if int(node.attrs.get("axis", -1)) in (-1, rank - 1) else None
    if node.op != "ReduceMean":
        return None
    given = node.attrs.get("axes")
    if given is None and len(node.inputs) > 1:
        given = resolved_constant(node.inputs[1])
    axes = sorted(int(axis) % rank for axis in given) if given is not None else []
    if axes == [rank - 1]:
        return -1
    return 1 if axes == list(range(2, rank)) else None


def _positions(size: Size, axis: int) -> Size:
    """Return the sizes of the other axes; empty if there is a single position."""
    found = size[1:] if axis == 1 else size[:-1]
    return found if max(found, default=1) > 1 else ()


@dataclass(frozen=True, slots=True)
class FeatureLoss:
    """A loss on the outputs plus a feature loss on the tensors that follow the outputs.

    Attributes:
        loss: Loss of the outputs.
        features: The tensors that are compared.
        weight: Weight of the feature loss.
    """

    loss: Loss
    features: tuple[Feature, ...]
    weight: float

    def __call__(
        self, outputs: Outputs, y: Tensor | None, teacher: Outputs | None, mix: Mix | None = None
    ) -> Tensor:
        """Return the loss of a batch, a float32 scalar."""
        if teacher is None:
            raise ValueError("no teacher")
        count = len(outputs) - len(self.features)
        loss = self.loss(outputs[:count], y, teacher[:count], mix)
        inside = zip(self.features, outputs[count:], teacher[count:], strict=True)
        errors = [attention_error(x, target, f.channel_axis) for f, x, target in inside]
        return loss + self.weight * torch.stack(errors).mean()


def attention_error(student: Tensor, teacher: Tensor, channel_axis: int) -> Tensor:
    """Return the squared distance of two attention maps, from 0 to 2, averaged over images."""
    maps = (attention_map(x, channel_axis) for x in (student, teacher))
    return (next(maps) - next(maps)).square().sum(dim=1).mean()


def attention_map(x: Tensor, channel_axis: int) -> Tensor:
    """Return the attention map, ``float32 [N, positions]`` of unit length."""
    return F.normalize(x.float().square().mean(dim=channel_axis).flatten(1), dim=1)
