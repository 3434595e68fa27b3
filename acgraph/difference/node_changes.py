"""The changes of each node of the first model."""

from collections.abc import Iterator

from acgraph.difference.render import size_changes
from acgraph.difference.types import GraphDiff


def node_changes(diff: GraphDiff) -> dict[str, tuple[str, list[str]]]:
    """Return what happened to each changed node, by its name in the first model.

    Returns:
        ``removed``, ``lowered``, ``resized`` or ``changed``, and a text for each change. Nodes of
        which only the name changed are left out.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    for node, text in small_changes(diff):
        found.setdefault(node, ("changed", []))[1].append(text)
    for resized in diff.resized:
        texts = found.get(resized.name, ("", []))[1]
        found[resized.name] = ("resized", [size_changes(resized), *texts])
    for lowered in diff.lowered:
        sizes = size_changes(lowered)
        form = f"lowered to {lowered.form}"
        found[lowered.name] = ("lowered", [form, sizes] if sizes else [form])
    return found | {node.name: ("removed", ["removed"]) for node in diff.removed}


def small_changes(diff: GraphDiff) -> Iterator[tuple[str, str]]:
    """Yield changes other than those of sizes and names, each with its node."""
    for retyped in diff.retyped:
        yield retyped.name, f"{retyped.before} is now {retyped.after}"
    for rewired in diff.rewired:
        yield rewired.node, f"input {rewired.index}: {rewired.before} is now {rewired.after}"
    for attribute in diff.attributes:
        yield attribute.node, f"attribute {attribute.attribute} changed"
    for constant in diff.constants:
        yield constant.node, f"constant {constant.name} changed"
