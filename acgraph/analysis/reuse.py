"""Reuse the analysis of a graph for the same graph with other weights."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from acgraph.analysis.dependency import DependencyGraph
from acgraph.ir import Array, Model


def with_weights(dependency: DependencyGraph, model: Model) -> DependencyGraph | None:
    """Return the analysis of a model that differs from an analysed one only in its weights.

    Args:
        dependency: Dependency graph of the analysed model.
        model: A model with the same nodes, tensors and shapes, and other float constants.

    Returns:
        The dependency graph of ``model``; None where the graph differs, or where the analysis
        contains values computed from weights, so that the model must be analysed again.
    """
    constants, facts = model.constants(), dependency.facts
    changed = _changed(facts.values, constants)
    if dependency.baked or _is_computed_from(dependency, changed):
        return None
    if _structure(dependency.model) != _structure(model):
        return None
    values = {name: constants[name] if name in changed else x for name, x in facts.values.items()}
    return replace(dependency, model=model, facts=replace(facts, values=values))


def _structure(model: Model) -> tuple[object, ...]:
    """Return all properties of a graph except the values of weights."""
    nodes = [
        (n.name, n.op, [t.name for t in n.inputs], [t.name for t in n.outputs])
        for n in model.graph.nodes
    ]
    return nodes, model.constant_forms(), model.sizes, model.bounds


def _changed(values: Mapping[str, Array], constants: Mapping[str, Array]) -> set[str]:
    """Return the names of the small constants whose values changed."""
    return {
        name
        for name, value in values.items()
        if name in constants and not np.array_equal(value, constants[name], equal_nan=True)
    }


def _is_computed_from(dependency: DependencyGraph, changed: set[str]) -> bool:
    """Return whether a known value is computed from a changed constant."""
    return any(
        output.name in dependency.facts.values
        for node in dependency.model.graph.nodes
        if any(tensor.name in changed for tensor in node.inputs)
        for output in node.outputs
    )
