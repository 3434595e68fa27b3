"""Feature distillation: the student is to look where the teacher looks, inside both networks.

Both are watched at a few tensors of the same name, and what they hold is compared as attention maps
(Zagoruyko and Komodakis, arXiv 1612.03928): the mean over the channels of the squares, of unit
length in each image. So a student with fewer channels has maps of the same size.
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

#: Tensors that are compared, at most.
MAX_TENSORS = 4
#: Their data input is ``[N, C, positions ...]`` by definition.
_SPATIAL = operators_with(Trait.SPATIAL)
#: Two batch sizes tell what follows the batch.
_BATCHES = (2, 3)

Size = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Feature:
    """A tensor of both networks.

    Attributes:
        name: Of the tensor.
        channel_axis: The axis that a map is the mean over: 1 or -1.
    """

    name: str
    channel_axis: int


def choose_features(student: GraphModule, teacher: GraphModule, x: Inputs) -> tuple[Feature, ...]:
    """Choose what to compare: four tensors at most, evenly spaced up to the deepest, out of these.

    The last tensor of each resolution: what a convolution or a pooling reads that changes the
    number of positions. And what is normalised over its last axis, as in transformers.

    Args:
        student: What is trained, on its device.
        teacher: What it learns from.
        x: An example.

    Raises:
        UsageError: no such tensor is in both networks, with as many positions, more than one.
    """
    fixed = student.fixed_batch or teacher.fixed_batch
    counts = _BATCHES if fixed is None else (fixed,)
    mine, others = (_sizes_of_an_image(module, x, counts) for module in (student, teacher))
    places: dict[Size | str, Feature] = {}
    for node, name in _learnt(student):
        size = mine.get(name, ())
        axis = _channel_axis(node, len(size) + 1)
        if axis is None:
            continue
        positions = _positions(size, axis)
        if not positions or positions != _positions(others.get(name, ()), axis):
            continue
        if axis == -1:
            places[name] = Feature(name, axis)
        elif positions != mine.get(node.outputs[0].name, ())[1:]:
            places.pop(positions, None)  # the order is that of the last ones
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


def _sizes_of_an_image(module: GraphModule, x: Inputs, counts: Sequence[int]) -> dict[str, Size]:
    """Return the sizes, without the batch, of the tensors whose first axis is the batch."""
    found: dict[str, Size] | None = None
    for count in counts:
        tensors = map(with_batch, x.tensors, itertools.repeat(count), x.axes)
        sizes = module.tensor_sizes(*tensors)
        now = {name: size[1:] for name, size in sizes.items() if size and size[0] == count}
        found = now if found is None else {k: v for k, v in found.items() if now.get(k) == v}
    return found or {}


def _learnt(module: GraphModule) -> Iterator[tuple[gs.Node, str]]:
    """Yield the nodes whose data depends on a weight, with its name."""
    weights, made = set(module.parameter_names().values()), set[str]()
    for node, inputs in module.walk():
        if inputs and inputs[0] in made:
            yield node, inputs[0]
        if not (weights | made).isdisjoint(inputs):
            made.update(tensor.name for tensor in node.outputs)


def _channel_axis(node: gs.Node, rank: int) -> int | None:
    """Return which axis of what a node reads is the channels; None where that is not known."""
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
    """Return the sizes beside the channels; none where there is a single position."""
    found = size[1:] if axis == 1 else size[:-1]
    return found if max(found, default=1) > 1 else ()


@dataclass(frozen=True, slots=True)
class FeatureLoss:
    """A loss plus the difference of features, which stand behind the outputs of both networks.

    Attributes:
        loss: Of the outputs.
        features: What is compared.
        weight: Of the comparison.
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
        errors = [attention_error(mine, other, f.channel_axis) for f, mine, other in inside]
        return loss + self.weight * torch.stack(errors).mean()


def attention_error(mine: Tensor, other: Tensor, channel_axis: int) -> Tensor:
    """Return the squared distance of two attention maps, mean over images: 0 is equal, 2 most."""
    maps = (attention_map(x, channel_axis) for x in (mine, other))
    return (next(maps) - next(maps)).square().sum(dim=1).mean()


def attention_map(x: Tensor, channel_axis: int) -> Tensor:
    """Return ``[N, positions]``, float32, of unit length: where the channels are large."""
    return F.normalize(x.float().square().mean(dim=channel_axis).flatten(1), dim=1)
