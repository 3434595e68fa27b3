"""Attribute the times of operators that ONNX Runtime runs to the layers of a model."""

from collections.abc import Collection, Iterable, Iterator, Mapping

import onnx_graphsurgeon as gs

from acgraph.backends.ort.profile import OperatorTime, profile_operators
from acgraph.backends.ort.session import SessionSettings
from acgraph.ir import Model

#: Prefix and suffix that ONNX Runtime adds to the name of a node fused with its successor.
_FUSED_BEFORE, _FUSED_AFTER = "fused ", "/MatMulAddFusion"
#: Suffix of a convolution in the NCHWc layout, which is named after its output value, or after
#: that of the node that is fused into it.
_NCHWC = "_nchwc"
_FUSED_INTO_CONV = frozenset(
    [
        "Add",
        "BatchNormalization",
        "Clip",
        "HardSigmoid",
        "LeakyRelu",
        "Mul",
        "Relu",
        "Sigmoid",
        "Tanh",
    ]
)


def layer_times(
    model: Model,
    layers: Collection[str],
    known: Model,
    settings: SessionSettings | None = None,
) -> dict[str, float]:
    """Profile a model and sum its operators by layer, in milliseconds.

    Args:
        model: The model to run.
        layers: Names of layers.
        known: The model before it was lowered. Its nodes do not belong to another layer even if
            their names begin with that layer's name.
        settings: Settings of the session; by default those of a phone.

    Returns:
        Milliseconds by layer; 0 for a layer that the model does not have. A layer that the profile
        does not name, for instance because it was fused into another, is left out.
    """
    nodes = {node.name for node in model.graph.nodes}
    owners = lowered_parts(nodes - {node.name for node in known.graph.nodes}, layers)
    owners.update({name: name for name in layers if name in nodes})
    times = dict.fromkeys(set(layers) - set(owners.values()), 0.0)
    owners |= _nchwc_names(model, owners)
    for name, milliseconds in _by_node(profile_operators(model, settings)):
        if name in owners:
            owner = owners[name]
            times[owner] = times.get(owner, 0.0) + milliseconds
    return times


def _nchwc_names(model: Model, owners: Mapping[str, str]) -> dict[str, str]:
    """Return the layer of each convolution by its node name in the NCHWc layout."""
    return {
        value + _NCHWC: owners[node.name]
        for node in model.graph.nodes
        if node.op == "Conv" and node.name in owners
        for value in _fused_values(node)
    }


def _fused_values(conv: gs.Node) -> Iterator[str]:
    """Yield the output of a convolution, and the outputs of nodes that may be fused into it."""
    node = conv
    while True:
        value = node.outputs[0]
        yield value.name
        if len(value.outputs) != 1:
            return
        node = value.outputs[0]
        others = [x for x in node.inputs if x is not value]
        if node.op not in _FUSED_INTO_CONV or not all(isinstance(x, gs.Constant) for x in others):
            return


def lowered_parts(nodes: Iterable[str], layers: Collection[str]) -> dict[str, str]:
    """Find the layer of every node that lowering created: ``LAYER/STEP`` or ``LAYER/STEP/STEP``.

    >>> lowered_parts(["a/b/conv", "ab/conv", "a/crop/conv"], ["a", "a/b"])
    {'a/b/conv': 'a/b', 'a/crop/conv': 'a'}
    """
    found = {}
    for node in nodes:
        owner = node
        while "/" in owner:
            owner = owner.rpartition("/")[0]
            if owner in layers:
                found[node] = owner
                break
    return found


def _by_node(profile: Iterable[OperatorTime]) -> Iterable[tuple[str, float]]:
    for entry in profile:
        yield entry.name.removeprefix(_FUSED_BEFORE).removesuffix(_FUSED_AFTER), entry.p50_ms
