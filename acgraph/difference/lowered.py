"""Recognise lowered layers: nodes ``LAYER/FORM.part`` that replace ``LAYER``."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from acgraph.analysis.layers import Layer, layers
from acgraph.difference.match import Matching
from acgraph.difference.types import Lowered
from acgraph.ir import Model

#: Name of the last node of every form, and the form where it is the only node.
_PLAIN, _ALONE = "conv", "crop"


@dataclass(frozen=True, slots=True)
class LoweredLayers:
    """The lowered layers, and the layer that each node of the second model is a part of."""

    changes: tuple[Lowered, ...] = ()
    layer_of: Mapping[str, str] = field(default_factory=dict)


def find_lowered(first: Model, second: Model, matching: Matching) -> LoweredLayers:
    """Find unpaired layers of the first model whose name prefixes unpaired nodes of the second."""
    unpaired = {layer.name: layer for layer in layers(first) if layer.name not in matching.pairs}
    layer_of: dict[str, str] = {}
    parts: dict[str, list[str]] = {}
    for node in second.graph.nodes:
        owner = _owner(node.name, unpaired)
        if owner is not None and node.name not in matching.inverse:
            layer_of[node.name] = owner
            parts.setdefault(owner, []).append(node.name)
    made = {layer.name: layer for layer in layers(second)}
    changes = [_change(unpaired[name], names, made) for name, names in parts.items()]
    return LoweredLayers(tuple(changes), layer_of)


def _owner(name: str, unpaired: Mapping[str, Layer]) -> str | None:
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in unpaired:
            return name
    return None


def _change(layer: Layer, names: list[str], made: Mapping[str, Layer]) -> Lowered:
    forms = [name[len(layer.name) + 1 :].partition(".")[0].partition("/")[0] for name in names]
    stored = [made[name] for name in names if name in made]
    return Lowered(
        name=layer.name,
        op_type=layer.op_type,
        form=next((form for form in forms if form != _PLAIN), _ALONE),
        nodes=len(names),
        filters=(layer.filters, max((part.filters for part in stored), default=0)),
        columns=(layer.columns, sum(part.columns for part in stored)),
    )
