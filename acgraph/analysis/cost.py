"""The cost of a model and of its layers: params, MACs and bytes."""

import os
from dataclasses import dataclass
from pathlib import Path

from acgraph.analysis.layers import layers
from acgraph.analysis.macs import node_macs
from acgraph.ir import (
    Facts,
    InputSizes,
    Model,
    count_params,
    infer_facts,
    input_sizes,
    model_from_proto,
    proto_size,
    read_proto,
    stored_size,
    walk_shapes,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a model.

    Attributes:
        params: Elements of all constant tensors in the file, index tensors included.
        macs: Multiply-accumulates of one forward pass, without the nodes in ``unknown``.
        bytes: Size of the file.
        unknown: Names of the nodes of unknown MACs, in graph order; where there are any, ``macs``
            is a lower bound.
    """

    params: int
    macs: int
    bytes: int
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """The cost of one layer.

    Attributes:
        name: Name of the node.
        op_type: Its operator.
        filters: Rows of its GEMM matrix.
        columns: Columns of its GEMM matrix.
        params: Elements of its weight and bias. A constant that two layers share counts for both.
        macs: Multiply-accumulates; None where a shape is unknown.
    """

    name: str
    op_type: str
    filters: int
    columns: int
    params: int
    macs: int | None


def model_cost(model: Model, *, facts: Facts | None = None) -> Cost:
    """Return the cost of a model in memory, as of the file that ``write_model`` writes.

    Args:
        model: The model, at its chosen input sizes.
        facts: Facts of the model, where the caller has them.
    """
    params, size = stored_size(model)
    macs, unknown = _macs(model, _facts(model) if facts is None else facts)
    return Cost(params=params, macs=macs, bytes=size, unknown=unknown)


def file_cost(path: str | os.PathLike[str], *, sizes: InputSizes | None = None) -> Cost:
    """Return the cost of an ONNX file, unused constants included.

    Args:
        path: The file.
        sizes: Input sizes; by default the most likely ones.

    Raises:
        ImportModelError: There is no such file, or it is not a valid ONNX model.
    """
    proto = read_proto(path)
    model = model_from_proto(proto, source=os.fspath(path))
    macs, unknown = _macs(model, _facts(model, sizes))
    # External data counts: the weights were read into the proto.
    on_disk = 0 if os.fspath(path) == "-" else Path(path).stat().st_size
    size = max(proto_size(proto), on_disk)
    return Cost(params=count_params(proto), macs=macs, bytes=size, unknown=unknown)


def macs_by_node(model: Model, facts: Facts) -> dict[str, int | None]:
    """Return the multiply-accumulates of every node by name; None where they are unknown."""
    return {node.name: node_macs(node, facts) for node in model.graph.nodes}


def layer_costs(model: Model, facts: Facts) -> list[LayerCost]:
    """Return the cost of every layer, in graph order."""
    macs = macs_by_node(model, facts)
    return [
        LayerCost(
            name=layer.name,
            op_type=layer.op_type,
            filters=layer.filters,
            columns=layer.columns,
            params=layer.size + layer.bias_size,
            macs=macs[layer.name],
        )
        for layer in layers(model, facts)
    ]


def _facts(model: Model, sizes: InputSizes | None = None) -> Facts:
    """Infer the shapes at the chosen sizes alone, and assume some only where any are unknown."""
    facts = walk_shapes(model, (sizes or input_sizes(model)).shapes)
    return infer_facts(model, sizes, assume=True) if facts.unknown else facts


def _macs(model: Model, facts: Facts) -> tuple[int, tuple[str, ...]]:
    counted = macs_by_node(model, facts)
    unknown = tuple(name for name, macs in counted.items() if macs is None)
    return sum(macs for macs in counted.values() if macs is not None), unknown
