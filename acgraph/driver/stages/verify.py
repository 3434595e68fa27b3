"""Check that the compact model computes what the masked one does."""

from dataclasses import replace

from acgraph.backends.ort.equivalence import EquivalenceResult, check_equivalence
from acgraph.backends.ort.examples import real_inputs
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
    return replace(state, equivalence=_equivalence(context, state))


def _equivalence(context: Context, state: State) -> EquivalenceResult:
    """Check against the masked model; where none can be equal, against the trained graph.

    Inputs are random ones, and examples of the data in every number that the original takes.
    """
    lowered = lowered_of(state)
    real = real_inputs(Session(context.original.model), context.data.select, REAL_EXAMPLES)
    seeds = REHEARSED_SEEDS if context.is_rehearsal else SEEDS
    inexact = inexact_cuts(context.untied.dependency, lowered.positions)
    if not inexact:
        return check_equivalence(lowered.small, lowered.masked, seeds=seeds, inputs=real)
    equivalence = check_equivalence(lowered.small, lowered.plain, seeds=seeds, inputs=real)
    note = (
        f"cut inexactly, as allowed: {', '.join(inexact)}; compared with the trained graph, "
        "because masked.onnx computes something else"
    )
    return replace(equivalence, notes=(note, *equivalence.notes))
