"""Check that the compact model computes what the masked one does."""

from dataclasses import replace

from acgraph.backends.ort.examples import real_inputs
from acgraph.backends.ort.law import LawResult, check_law
from acgraph.backends.ort.session import Session
from acgraph.driver.state.context import Context
from acgraph.driver.state.positions import inexact_cuts
from acgraph.driver.state.state import State, lowered_of

#: How many examples of the data the equivalence check runs on at once, where the batch is free;
#: two sets of the same number show whether outputs depend on the inputs.
REAL_EXAMPLES = (1, 1, 4)
#: Random inputs beside them; fewer where the end is only rehearsed.
SEEDS, REHEARSED_SEEDS = 3, 1


def verify(context: Context, state: State) -> State:
    """Make the equivalence check."""
    return replace(state, law=_law(context, state))


def _law(context: Context, state: State) -> LawResult:
    """Check against the masked model; where none can be equal, against the trained graph.

    Inputs are random ones, and examples of the data in every number that the original takes.
    """
    lowered = lowered_of(state)
    real = real_inputs(Session(context.original.model), context.data.select, REAL_EXAMPLES)
    seeds = REHEARSED_SEEDS if context.is_rehearsal else SEEDS
    inexact = inexact_cuts(context.untied.dependency, lowered.positions)
    if not inexact:
        return check_law(lowered.small, lowered.masked, seeds=seeds, inputs=real)
    law = check_law(lowered.small, lowered.plain, seeds=seeds, inputs=real)
    note = (
        f"cut inexactly, as allowed: {', '.join(inexact)}; compared with the trained graph, "
        "because masked.onnx computes something else"
    )
    return replace(law, notes=(note, *law.notes))
