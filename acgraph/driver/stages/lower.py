"""Fold and lower the trained graph, and make the masked model from its weights."""

from dataclasses import replace

from acgraph.driver.cost.compact import compact
from acgraph.driver.cut_plan.record import record_cut
from acgraph.driver.stages.target import limit_of
from acgraph.driver.state.context import Context
from acgraph.driver.state.positions import adopt_biases, expand, with_own_constants
from acgraph.driver.state.state import Lowered, State, Warnings
from acgraph.ir import clone_model, infer_facts
from acgraph.ir.check import source_digest
from acgraph.passes.fuse_batchnorm import fuse_batchnorm
from acgraph.pruning.tie import retie_constants, write_once


def lower(context: Context, state: State) -> State:
    """Make the compact and the masked model from the trained graph."""
    trained, warnings = state.network.model, Warnings(context, state)
    small, layers = compact(
        trained,
        context.chooser,
        limit=limit_of(context, state),
        warn=warnings.add,
        passes=context.passes,
    )
    plain = clone_model(trained)
    fuse_batchnorm(plain, state.inserted)
    dependency = context.untied.dependency
    dense = with_own_constants(dependency.model, state.prepared.model.constants())
    positions = adopt_biases(plain, dense, state.positions)
    masked = expand(dense, dependency, plain.constants(), positions)
    write_once(small, context.copies)
    retie_constants(masked, context.copies)
    for remark in dependency.facts.remarks_beside(infer_facts(small, assume=True)):
        warnings.add(remark)
    digest = source_digest(context.original.model)
    original = dependency.model.constants()
    kept = {name: axes for name, axes in positions.items() if name in original}
    plan = record_cut(dependency, context.copies, kept, trained.constants(), layers, digest)
    lowered = Lowered(
        small=small, masked=masked, plain=plain, layers=layers, positions=positions, plan=plan
    )
    return replace(state, lowered=lowered, warnings=warnings.texts)
