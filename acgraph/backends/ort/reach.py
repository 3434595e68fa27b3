"""Compute the tensors that the branches of a model read, from inputs of the model.

A branch cannot be run on random values, because it may read computed indices and sizes. Moreover,
it may run only at input sizes at which the other branch does not run.
"""

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from acgraph.backends.ort.bounds import integer_bounds
from acgraph.backends.ort.equivalence import trial_feeds
from acgraph.backends.ort.evidence import LARGE, Feeds, Form
from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.inside import with_outputs
from acgraph.backends.ort.session import GraphInputs, Session
from acgraph.errors import BackendError
from acgraph.ir import Array, Model
from acgraph.ir.sizes import open_axes, resized
from acgraph.passes.eliminate_dead_nodes import remove_unread

_log = logging.getLogger(__name__)


def branch_trials(model: Model) -> list[Feeds]:
    """Make random inputs of a model, of the usual sizes, of other sizes, and of half the sizes.

    Boolean inputs are negated in one further set, so that both branches of a condition run.
    """
    found = [(label, arrays) for label, arrays in trial_feeds(Form(model, model)) if label != LARGE]
    conditions = {name for name, array in found[0][1].items() if array.dtype == np.bool_}
    if conditions:
        first = found[0][1]
        negated = {
            n: np.asarray(np.logical_not(a) if n in conditions else a) for n, a in first.items()
        }
        found.append(("other conditions", negated))
    described = GraphInputs.of(model)
    if described is None:
        return found
    axes = open_axes(described.declared, described.sizes.shapes)
    halves = {
        name: axis.size // 2 for name, axis in axes.items() if not axis.is_batch and axis.size > 1
    }
    if halves:
        shapes = resized(described.declared, described.sizes.shapes, halves)
        bounds = integer_bounds(model)
        arrays = random_inputs(described, seed=len(found), shapes=shapes, bounds=bounds)
        found.append(("inputs of half the size", arrays))
    return found


def branch_inputs(
    model: Model, names: Collection[str], feeds: Sequence[Feeds], fixed: Mapping[str, Array]
) -> list[Feeds]:
    """Compute intermediate tensors of a model.

    Args:
        model: The model.
        names: Names of the tensors.
        feeds: Inputs of the model; those that the model cannot run are left out.
        fixed: Tensors that are constants, by name.

    Returns:
        For each set of inputs, its label and the tensors by name.
    """
    own = {tensor.name for tensor in model.graph.inputs}
    made = [name for name in names if name not in own and name not in fixed]
    session = None
    if made:
        copy = with_outputs(model, made)
        wanted = set(made)
        copy.graph.outputs = [t for t in copy.graph.outputs if t.name in wanted]
        remove_unread(copy)
        session = Session(copy)
    found: list[Feeds] = []
    for label, arrays in feeds:
        try:
            values = session.run(arrays) if session is not None else {}
        except BackendError as error:
            _log.info("%s", error)
            continue
        known = {**arrays, **fixed, **values}
        found.append((label, {name: known[name] for name in names}))
    return found


def runnable_inputs(model: Model, feeds: Sequence[Feeds]) -> tuple[list[Feeds], str]:
    """Return the inputs that a model can run, and the error for the first of the others."""
    session = Session(model)
    found: list[Feeds] = []
    reason = ""
    for label, arrays in feeds:
        try:
            session.run(arrays)
        except BackendError as error:
            reason = reason or error.diagnostic.message
            continue
        found.append((label, arrays))
    return found, reason
