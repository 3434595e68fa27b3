"""Export a difference as node data for Google's Model Explorer, an overlay of both graphs.

The format is that of ``model_explorer/node_data_builder.py`` of ai-edge-model-explorer: graph id
-> ``results``: node id -> ``value`` and ``bgColor``. The ids are those of its ONNX adapter: the
names of the graph and of the nodes.
"""

import json
from collections.abc import Mapping

from acgraph.difference.node_changes import small_changes
from acgraph.difference.render import size_changes
from acgraph.difference.types import GraphDiff, Lowered
from acgraph.ir import Model

#: Background colours by kind of change; readable under black text.
COLOURS = {
    "removed": "#f4b6a8",
    "added": "#b9dcf2",
    "lowered": "#d9c8f0",
    "resized": "#bfe3cf",
    "changed": "#f6e3a1",
}
_Results = dict[str, dict[str, str]]


def model_explorer_from_diff(diff: GraphDiff, first: Model, second: Model) -> str:
    """Return the JSON text, to be loaded in Model Explorer together with both models.

    Where both graphs have the same name, their nodes share one entry. A node of both models is
    listed once.
    """
    before = _before(diff)
    after = _after(diff, before, {node.name for node in first.graph.nodes}, second)
    data: dict[str, dict[str, _Results]] = {}
    for model, results in ((first, before), (second, after)):
        found = data.setdefault(model.graph.name, {"results": {}})["results"]
        found.update({name: entry for name, entry in results.items() if name not in found})
    return json.dumps(data, indent=2, allow_nan=False) + "\n"


def _entry(kind: str, text: str) -> dict[str, str]:
    return {"value": text, "bgColor": COLOURS[kind]}


def _before(diff: GraphDiff) -> _Results:
    """Describe the nodes of the first model."""
    changed: dict[str, list[str]] = {}
    renamed = ((x.before, f"now named {x.after}") for x in diff.renamed)
    for node, text in (*renamed, *small_changes(diff)):
        changed.setdefault(node, []).append(text)
    results = {name: _entry("changed", ", ".join(texts)) for name, texts in changed.items()}
    results |= {x.name: _entry("resized", size_changes(x)) for x in diff.resized}
    results |= {x.name: _entry("lowered", _lowered(x)) for x in diff.lowered}
    return results | {x.name: _entry("removed", "removed") for x in diff.removed}


def _after(diff: GraphDiff, before: _Results, ours: set[str], second: Model) -> _Results:
    """Describe the nodes of the second model, by their names there."""
    names: Mapping[str, str] = {change.before: change.after for change in diff.renamed}
    replaced = {x.name for x in diff.removed} | {x.name for x in diff.lowered}
    results = {names.get(k, k): entry for k, entry in before.items() if k not in replaced}
    lowered = {change.name: change for change in diff.lowered}
    for node in second.graph.nodes:
        if node.name in ours:
            continue
        owner = node.name
        while "/" in owner and owner not in lowered:
            owner = owner.rpartition("/")[0]
        if owner in lowered:
            results.setdefault(node.name, _entry("lowered", f"part of {_lowered(lowered[owner])}"))
    return results | {x.name: _entry("added", "added") for x in diff.added}


def _lowered(change: Lowered) -> str:
    text = f"{change.name}, lowered to {change.form}"
    sizes = size_changes(change)
    return f"{text}: {sizes}" if sizes else text
