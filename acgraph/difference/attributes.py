"""Find changed attributes of paired nodes, including subgraphs."""

from collections.abc import Hashable, Iterable, Iterator, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from acgraph.difference.fingerprint import Numbering, Outer, subgraph_print
from acgraph.difference.match import Matching
from acgraph.difference.rewired import NodePair
from acgraph.difference.terms import Terms
from acgraph.difference.types import AttributeChange
from acgraph.ir import Model
from acgraph.ir.text import text_from_model


def find_attributes(
    first: Model, second: Model, pairs: Iterable[NodePair], matching: Matching
) -> Iterator[AttributeChange]:
    """Compare the attributes of paired nodes.

    Subgraphs are equal where they compute the same from the same tensors, whatever their inner
    names.
    """
    numbering = Numbering()
    outer = _outer(first, {n: n for n in matching.pairs}), _outer(second, matching.inverse)
    for a, b in pairs:
        for key in sorted({*a.attrs, *b.attrs}):
            values = a.attrs.get(key), b.attrs.get(key)
            if all(isinstance(value, gs.Graph) for value in values):
                prints = [
                    subgraph_print(v, numbering, o) for v, o in zip(values, outer, strict=True)
                ]
                is_same = prints[0] == prints[1]
            else:
                is_same = _shown(a, key) == _shown(b, key)
            if not is_same:
                yield AttributeChange(
                    node=a.name, attribute=key, before=_shown(a, key), after=_shown(b, key)
                )


def _outer(model: Model, names: Mapping[str, str]) -> Outer:
    """Return a function that identifies tensors of the main graph by names of the first model."""
    terms = Terms(model, names)
    known = {t.name: t for node in model.graph.nodes for t in node.outputs}

    def source(tensor: gs.Tensor) -> Hashable:
        found = terms.source(known.get(tensor.name, tensor))
        return ("unpaired", tensor.name) if found is None else found

    return source


def _shown(node: gs.Node, key: str) -> str | None:
    if key not in node.attrs:
        return None
    value = node.attrs[key]
    if isinstance(value, gs.Constant):
        array = np.asarray(value.values)
        return f"{array.dtype}{list(array.shape)} {np.array2string(array, threshold=8)}"
    if isinstance(value, gs.Graph):
        return text_from_model(Model(graph=value))
    return str(list(value)) if isinstance(value, list | tuple) else str(value)
