"""Features of attention heads whose basis is free: those of queries and keys, and of values.

Only the product of queries and keys matters, so both may be multiplied by a matrix and its inverse,
separately in each head. The same holds for values and the layer that reads the average of them. A
change of basis leaves the network's function unchanged. It is found wherever nothing but moves of
elements stands between the layers and the product; a rotary embedding or a normalisation of
queries, for instance, restricts the basis.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.analysis.feature_flow import Arrival, Follower
from acgraph.analysis.labels import Ints
from acgraph.analysis.layers import Layer, layers
from acgraph.analysis.tail import Tail, tails
from acgraph.ir import Array, Facts, Model


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The product of the features of two layers in one head, or in heads that share features.

    Attributes:
        node: Name of the product's node.
        left: The layer of the left factor, usually of queries.
        right: The layer of the right factor, usually of keys.
        left_rows: Its filters, ``int64 [heads, features]``: several heads if they share keys.
        right_rows: The filters of the right layer, ``int64 [heads, features]``.
        shifted: The factor whose mean has no effect, because a Softmax follows over its positions:
            ``right`` or ``left``, or empty.
    """

    node: str
    left: Tail
    right: Tail
    left_rows: Ints
    right_rows: Ints
    shifted: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """The values of one head, which layers read after an average over positions.

    Attributes:
        source: The layer that computes them.
        rows: Its filters, ``int64 [features]``.
        readers: The layers that read them, each with the input channels ``int64 [features]``. A
            layer appears once for each head that reads these values.
    """

    source: Tail
    rows: Ints
    readers: tuple[tuple[Layer, Ints], ...]


@dataclass(frozen=True, slots=True)
class FreeBases:
    """All features of a model whose basis is free."""

    scores: tuple[Scores, ...] = ()
    values: tuple[Values, ...] = ()


def free_bases(model: Model, facts: Facts) -> FreeBases:
    """Find the features of attention heads whose basis is free.

    Args:
        model: The model.
        facts: Its facts.
    """
    found = [layer for layer in layers(model) if _is_plain(layer)]
    if not any(node.op == "MatMul" and _is_product(node) for node in model.graph.nodes):
        return FreeBases()
    named = {layer.name: layer for layer in found}
    behind = tails(model, found)
    shared = _shared_weights(model)
    follower = Follower(model, facts)
    constants = model.constants()
    flows: dict[str, list[Arrival]] = {}
    for layer in found:
        tail = behind[layer.name]
        is_free = layer.weight not in shared and _is_changeable(tail, constants)
        arrivals = follower.follow(tail) if is_free else None
        if arrivals is not None:
            flows[layer.name] = arrivals
    readers = {name: layer for name, layer in named.items() if layer.weight not in shared}
    return FreeBases(
        scores=tuple(_scores(model, flows, behind)),
        values=tuple(_values(flows, behind, readers)),
    )


def _is_changeable(tail: Tail, constants: Mapping[str, Array]) -> bool:
    """Return whether all biases of a layer can be changed, and its scale is a single number."""
    if tail.layer.bias and not tail.is_bias_own:
        return False
    return all(
        step.is_own if step.kind == "add" else
        step.kind == "scale" and constants[step.constants[0]].size == 1
        for step in tail.steps
    )  # fmt: skip


def _is_plain(layer: Layer) -> bool:
    return layer.group == 1 and layer.weight_input == 1 and not layer.through


def _is_product(node: gs.Node) -> bool:
    return all(isinstance(tensor, gs.Variable) for tensor in node.inputs)


def _shared_weights(model: Model) -> frozenset[str]:
    seen: set[str] = set()
    twice: set[str] = set()
    for node in model.graph.nodes:
        for tensor in node.inputs:
            (twice if tensor.name in seen else seen).add(tensor.name)
    return frozenset(twice)


def _scores(
    model: Model, flows: Mapping[str, Sequence[Arrival]], behind: Mapping[str, Tail]
) -> Iterator[Scores]:
    sides: dict[str, dict[int, list[tuple[str, Ints]]]] = {}
    for name, arrivals in flows.items():
        for arrival in arrivals:
            if arrival.node is not None and arrival.node.op == "MatMul" and arrival.heads is None:
                place = sides.setdefault(arrival.node.name, {})
                place.setdefault(arrival.index, []).append((name, arrival.filters))
    nodes = {node.name: node for node in model.graph.nodes}
    for product, place in sides.items():
        if set(place) != {0, 1} or any(len(each) != 1 for each in place.values()):
            continue
        (left, left_filters), (right, right_filters) = place[0][0], place[1][0]
        pairs = _pairs(left_filters, right_filters)
        if pairs is None:
            continue
        for left_rows, right_rows in _blocks(*pairs):
            if _arrives_once(flows[left], left_rows) and _arrives_once(flows[right], right_rows):
                yield Scores(
                    product, behind[left], behind[right], left_rows, right_rows,
                    shifted=_shifted(nodes[product]),
                )  # fmt: skip


def _pairs(left: Ints, right: Ints) -> tuple[Ints, Ints] | None:
    """Return the filters that are multiplied, ``[heads, features]`` for each factor."""
    left_first, right_first = left[..., :1, :], right[..., :, :1]
    if (left != left_first).any() or (right != right_first).any():
        return None
    one, other = left_first[..., 0, :], right_first[..., :, 0]
    one, other = np.broadcast_arrays(one, other)
    size = one.shape[-1]
    both = np.unique(np.stack([one.reshape(-1, size), other.reshape(-1, size)], axis=1), axis=0)
    return both[:, 0], both[:, 1]


def _blocks(left: Ints, right: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Join the heads that share a factor; leave out those that share only some features."""
    rest = list(zip(map(tuple, left.tolist()), map(tuple, right.tolist()), strict=True))
    while rest:
        ours, theirs = {rest[0][0]}, {rest[0][1]}
        while True:
            taken = [pair for pair in rest if pair[0] in ours or pair[1] in theirs]
            grown = {pair[0] for pair in taken}, {pair[1] for pair in taken}
            if grown == (ours, theirs):
                break
            ours, theirs = grown
        rest = [pair for pair in rest if pair not in taken]
        if len(taken) == len(ours) * len(theirs) and all(map(_is_distinct, (ours, theirs))):
            yield np.array(sorted(ours), np.int64), np.array(sorted(theirs), np.int64)


def _is_distinct(heads: set[tuple[int, ...]]) -> bool:
    every = [filter_ for head in heads for filter_ in head]
    return len(set(every)) == len(every)


def _arrives_once(arrivals: Sequence[Arrival], rows: Ints) -> bool:
    """Return whether one node alone computes with these filters."""
    return sum(bool(np.isin(arrival.filters, rows).any()) for arrival in arrivals) == 1


def _shifted(product: gs.Node) -> str:
    """Return the factor over whose positions a Softmax is taken, past scales and masks."""
    tensor = product.outputs[0]
    while len(tensor.outputs) == 1:
        node = tensor.outputs[0]
        if node.op == "Softmax":
            axis = int(node.attrs.get("axis", -1))
            rank = len(tensor.shape) if tensor.shape is not None else 4
            return {rank - 1: "right", rank - 2: "left"}.get(axis % rank, "")
        if node.op not in ("Mul", "Div", "Add"):
            return ""
        tensor = node.outputs[0]
    return ""


def _values(
    flows: Mapping[str, Sequence[Arrival]],
    behind: Mapping[str, Tail],
    readers: Mapping[str, Layer],
) -> Iterator[Values]:
    for name, arrivals in flows.items():
        groups = [tuple(h) for a in arrivals if a.heads is not None for h in a.heads.tolist()]
        for head in dict.fromkeys(groups):
            rows = np.array(head, np.int64)
            if len(set(head)) != len(head):
                continue
            found = [a for a in arrivals if np.isin(a.filters, rows).any()]
            read = [_columns(arrival, rows, readers) for arrival in found]
            if read and all(columns is not None for columns in read):
                each = [own for columns in read for own in columns or ()]
                yield Values(behind[name], rows, tuple(each))


def _columns(
    arrival: Arrival, rows: Ints, readers: Mapping[str, Layer]
) -> list[tuple[Layer, Ints]] | None:
    """Return the input channels at which a layer reads values, for each head that does."""
    if arrival.node is None or arrival.heads is None or arrival.index != 0:
        return None
    layer = readers.get(arrival.node.name)
    if layer is None:
        return None
    axis = 1 if layer.kernel else arrival.filters.ndim - 1
    channels = np.moveaxis(arrival.filters, axis, -1).reshape(-1, arrival.filters.shape[axis])
    if (channels != channels[:1]).any() or not np.isin(rows, channels[0]).all():
        return None
    places = [np.flatnonzero(channels[0] == row) for row in rows]
    if len({len(own) for own in places}) != 1:
        return None
    return [(layer, own) for own in np.array(places, np.int64).T]
