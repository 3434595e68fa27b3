"""Find inputs and outputs with another source, except where removed or lowered nodes explain it."""

from collections.abc import Iterable, Iterator

import onnx_graphsurgeon as gs

from acgraph.difference.lowered import LoweredLayers
from acgraph.difference.match import Matching
from acgraph.difference.types import RewiredInput, ValueChange
from acgraph.ir import Model

NodePair = tuple[gs.Node, gs.Node]
#: Kind, name of the node or input, and index of its output.
_Origin = tuple[str, str, int]


def find_rewired(
    pairs: Iterable[NodePair], matching: Matching, lowered: LoweredLayers
) -> Iterator[RewiredInput]:
    """Compare the sources of the inputs of paired nodes.

    Removed nodes are replaced by the source of their first input, and the parts of a lowered layer
    count as the layer, because both are listed as changes of their own.
    """
    for a, b in pairs:
        for index in range(max(len(a.inputs), len(b.inputs))):
            before, after = _origin(_input(a, index)), _origin(_input(b, index))
            if _agree(_input(a, index), after, matching, lowered):
                continue
            yield RewiredInput(node=a.name, index=index, before=_shown(before), after=_shown(after))


def find_moved_outputs(
    first: Model, second: Model, matching: Matching, lowered: LoweredLayers
) -> Iterator[ValueChange]:
    """Compare the sources of the outputs of the models."""
    theirs = {tensor.name: tensor for tensor in second.graph.outputs}
    for tensor in first.graph.outputs:
        if tensor.name not in theirs:
            continue
        before, after = _origin(tensor), _origin(theirs[tensor.name])
        if not _agree(tensor, after, matching, lowered):
            yield ValueChange(
                kind="source of output",
                name=tensor.name,
                before=_shown(before),
                after=_shown(after),
            )


def _input(node: gs.Node, index: int) -> gs.Tensor | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _origin(tensor: gs.Tensor | None) -> _Origin:
    if tensor is None or not tensor.name:
        return "absent", "", 0
    if isinstance(tensor, gs.Constant):
        return "constant", "", 0
    if not tensor.inputs:
        return "input", tensor.name, 0
    producer = tensor.inputs[0]
    return "node", producer.name, next(i for i, t in enumerate(producer.outputs) if t is tensor)


def _agree(
    tensor: gs.Tensor | None, after: _Origin, matching: Matching, lowered: LoweredLayers
) -> bool:
    """Return whether the source of a tensor of the first model corresponds to ``after``."""
    lowered_names = {change.name for change in lowered.changes}
    while tensor is not None:
        kind, name, index = _origin(tensor)
        if kind != "node":
            return (kind, name, index) == after
        if name in lowered_names:
            return lowered.layer_of.get(after[1]) == name
        if name in matching.pairs:
            return ("node", matching.pairs[name], index) == after
        tensor = _input(tensor.inputs[0], 0)
    return after[0] == "absent"


def _shown(origin: _Origin) -> str:
    kind, name, index = origin
    return kind if not name else f"{name}:{index}" if index else name
