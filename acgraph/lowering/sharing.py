"""Layers that share one weight: all of them get the same form, or all stay dense.

A network that runs one layer several times (an unrolled LSTM, a head on every level of a detector)
stores its weight once. If only some of the layers were lowered, the file would contain both the
dense weight and its kept columns.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from acgraph.analysis.layers import Layer
from acgraph.ir import Model
from acgraph.ir.uses import captured_names
from acgraph.lowering.base import DENSE, Candidate, Chooser
from acgraph.lowering.candidates import StoredConstants, candidates
from acgraph.lowering.fragment import Index, Weights, elements
from acgraph.lowering.layer import Lowerable


def sharing_layers(model: Model, layers: Sequence[Layer]) -> list[list[Layer]]:
    """Group the layers that share a weight, in graph order.

    Args:
        model: The model.
        layers: The layers to lower. A weight with any other consumer has no group.
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
    """Return the names of the consumers of a constant, past Identity and Transpose.

    A graph output or a subgraph counts as the name "".
    """
    found = {""} if tensor.name in kept else set()
    for node in tensor.outputs:
        if node.op in ("Identity", "Transpose"):
            found |= _readers(node.outputs[0], kept)
        else:
            found.add(node.name)
    return found


def choose_together(layers: Sequence[Lowerable], chooser: Chooser, stored: StoredConstants) -> str:
    """Choose the form of layers that share a weight; return its label.

    The chooser decides for the first layer. The layers stay dense where another one of them lacks
    that form, or where the lowered layers together would store as much as the dense ones.

    Args:
        layers: The layers.
        chooser: Chooses among the candidates of a layer.
        stored: Constants that the model already stores.
    """
    options = [candidates(replace(layer, is_tied=False), stored) for layer in layers]
    label = chooser.choose(options[0]).label if len(options[0]) > 1 else DENSE
    chosen = [with_label(found, label) for found in options]
    if label == DENSE or any(candidate is None for candidate in chosen):
        return DENSE
    after = _elements_of([candidate for candidate in chosen if candidate is not None])
    return label if after < _elements_of([found[0] for found in options]) else DENSE


def with_label(options: Sequence[Candidate], label: str) -> Candidate | None:
    """Return the candidate with this label, or None."""
    return next((candidate for candidate in options if candidate.label == label), None)


def _elements_of(chosen: Sequence[Candidate]) -> int:
    """Count the elements of the constants of several candidates, equal ones once."""
    found: Mapping[object, Weights | Index] = {
        constant.key: constant
        for candidate in chosen
        for constant in candidate.fragment.constants()
    }
    return sum(elements(constant.values.shape) for constant in found.values())
