"""Replace constants by the results computed from them if these are smaller."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.ir import Array, Model, in_c_order
from acgraph.ir.fold import evaluate_node
from acgraph.operators import is_standard

#: Constants with fewer bytes are ignored.
MIN_BYTES = 1 << 12
_NO_LIMIT = 1 << 62
#: Operators whose rounding depends on the runtime.
_ROUNDING = frozenset(["QuantizeLinear", "DynamicQuantizeLinear"])


@dataclass(slots=True)
class _Chain:
    """A set of constants, and the used results that are computed from them."""

    sources: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)


def precompute(model: Model) -> None:
    """Store results that are computed from larger constants as constants, in place.

    An example are index tables that every block of an exported model computes again. The nodes
    that computed the results stay in the graph without consumers.
    """
    values = model.constants()
    behind = constants_behind(model, values)
    read = read_by_others(model, behind)
    chains = list(_chains(behind, read, values))
    results: dict[str, gs.Constant] = {}
    for chain in chains:
        freed = sum(values[name].nbytes for name in chain.sources - read)
        if freed < MIN_BYTES:
            continue
        found = evaluate_results(model, values, chain.results)
        if found is not None and sum(value.nbytes for value in found.values()) < freed:
            results.update(
                {
                    name: gs.Constant(f"{name}/value", in_c_order(value))
                    for name, value in found.items()
                }
            )
    if not results:
        return
    for node in model.graph.nodes:
        if all(t.name in behind for t in node.outputs if t.name):
            continue
        for i, tensor in enumerate(node.inputs):
            if tensor.name in results:
                node.inputs[i] = results[tensor.name]


def constants_behind(model: Model, values: Mapping[str, Array]) -> dict[str, frozenset[str]]:
    """Map each tensor that is computed only from constants to these constants."""
    found: dict[str, frozenset[str]] = {}
    for node in model.graph.nodes:
        names = [t.name for t in node.inputs if t.name]
        if not names or node.op in _ROUNDING or not is_standard(node.domain):
            continue
        if any(isinstance(value, gs.Graph) for value in node.attrs.values()):
            continue
        if all(name in values or name in found for name in names):
            behind = frozenset().union(*(found.get(name, {name}) for name in names))
            found.update({t.name: behind for t in node.outputs if t.name})
    return found


def read_by_others(model: Model, behind: dict[str, frozenset[str]]) -> set[str]:
    """Return the tensors that nodes with other inputs read, or that are graph outputs."""
    read = {t.name for t in model.graph.outputs}
    for node in model.graph.nodes:
        if node.inputs and not all(t.name in behind for t in node.outputs if t.name):
            read.update(t.name for t in node.inputs)
    return read


def _chains(
    behind: dict[str, frozenset[str]], read: set[str], values: Mapping[str, Array]
) -> Iterator[_Chain]:
    """Group results that share a constant of significant size."""
    home: dict[str, _Chain] = {}
    for name in behind:
        if name not in read:
            continue
        large = {x for x in behind[name] if values[x].size > 1}
        merged = _Chain(set(large), {name})
        for chain in {id(home[x]): home[x] for x in large if x in home}.values():
            merged.sources |= chain.sources
            merged.results |= chain.results
        home.update(dict.fromkeys(merged.sources, merged))
    yield from {id(chain): chain for chain in home.values()}.values()


def evaluate_results(
    model: Model, values: Mapping[str, Array], results: set[str]
) -> Mapping[str, Array] | None:
    """Evaluate tensors; None if one of them cannot be evaluated."""
    outputs = {t.name for t in model.graph.outputs}
    if results & outputs:
        return None
    made = _needed(model, results)
    known = dict(values)
    for node in model.graph.nodes:
        if id(node) not in made:
            continue
        arrays = [known[t.name] if t.name else None for t in node.inputs]
        found = evaluate_node(node, arrays, int(model.graph.opset), _NO_LIMIT)
        if found is None:
            return None
        known.update({t.name: x for t, x in zip(node.outputs, found, strict=False) if t.name})
    finite = all(np.isfinite(known[name]).all() for name in results)
    return {name: known[name] for name in results} if finite else None


def _needed(model: Model, results: set[str]) -> set[int]:
    wanted = set(results)
    nodes: set[int] = set()
    for node in reversed(model.graph.nodes):
        if node.op != "Constant" and any(t.name in wanted for t in node.outputs):
            nodes.add(id(node))
            wanted.update(t.name for t in node.inputs)
    return nodes
