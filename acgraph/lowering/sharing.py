"""Layers that read one weight: all of them get the same form, or all stay dense.

A network that runs one layer several times (an unrolled LSTM, a head on every level of a detector)
stores its weight once. If some of its readers were lowered, the file would hold the weight and the
kept columns of it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from acgraph.analysis.layers import Layer
from acgraph.ir import Model
from acgraph.ir.uses import captured_names
from acgraph.lowering.base import DENSE, Candidate, Chooser
from acgraph.lowering.candidates import Held, candidates
from acgraph.lowering.fragment import Index, Weights, elements
from acgraph.lowering.layer import Lowerable


def sharing_layers(model: Model, layers: Sequence[Layer]) -> list[list[Layer]]:
    """Group the layers that share a weight which nothing else reads; in graph order.

    Args:
        model: The model.
        layers: Those that may be lowered: a weight that another layer reads too is not listed.
    """
    by_weight: dict[str, list[Layer]] = {}
    for layer in layers:
        by_weight.setdefault(layer.weight, []).append(layer)
    tensors = model.graph.tensors()
    kept = {tensor.name for tensor in model.graph.outputs} | captured_names(model.graph)
    return [
        found
        for name, found in by_weight.items()
        if len(found) > 1 and _readers(tensors[name], kept) == {layer.name for layer in found}
    ]


def _readers(tensor: gs.Tensor, kept: Collection[str]) -> set[str]:
    """Name the nodes that read a constant, through Identity and Transpose; "" for an output."""
    found = {""} if tensor.name in kept else set()
    for node in tensor.outputs:
        if node.op in ("Identity", "Transpose"):
            found |= _readers(node.outputs[0], kept)
        else:
            found.add(node.name)
    return found


def choose_together(reads: Sequence[Lowerable], choose: Chooser, held: Held) -> str:
    """Choose the form of layers that share a weight; return its label.

    It is the one that the chooser takes for the first layer. They stay dense where another layer
    lacks that form, or where all of them together would store more than they do.

    Args:
        reads: The layers.
        choose: Picks among the candidates of a layer.
        held: Constants that the model has already.
    """
    ways = [candidates(replace(read, is_tied=False), held) for read in reads]
    label = choose.choose(ways[0]).label if len(ways[0]) > 1 else DENSE
    chosen = [with_label(found, label) for found in ways]
    if label == DENSE or any(way is None for way in chosen):
        return DENSE
    after = _stored([way for way in chosen if way is not None])
    return label if after < _stored([found[0] for found in ways]) else DENSE


def with_label(ways: Sequence[Candidate], label: str) -> Candidate | None:
    """Return the candidate with this label, or None."""
    return next((way for way in ways if way.label == label), None)


def _stored(ways: Sequence[Candidate]) -> int:
    """Count the elements of the constants of several candidates, equal ones once."""
    found: Mapping[object, Weights | Index] = {
        constant.key: constant for way in ways for constant in way.fragment.constants()
    }
    return sum(elements(constant.values.shape) for constant in found.values())
