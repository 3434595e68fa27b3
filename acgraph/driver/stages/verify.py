"""Check that the compact and the masked model are equivalent."""

from dataclasses import replace

from acgraph.backends.ort.equivalence import EquivalenceResult, check_equivalence
from acgraph.backends.ort.examples import real_inputs
from acgraph.backends.ort.session import Session
from acgraph.driver.state.context import Context
from acgraph.driver.state.positions import inexact_cuts
from acgraph.driver.state.state import State, lowered_of

#: Batch sizes of the examples that the equivalence check runs on, if the batch axis is dynamic; two
#: batches of the same size show whether outputs depend on the inputs.
REAL_EXAMPLES = (1, 1, 4)
#: Number of random inputs in addition; fewer in the rehearsal.
SEEDS, REHEARSED_SEEDS = 3, 1


def verify(context: Context, state: State) -> State:
    """Run the equivalence check."""
    return replace(state, equivalence=_equivalence(context, state))


def _equivalence(context: Context, state: State) -> EquivalenceResult:
    """Compare with the masked model, or with the trained graph if inexact cuts were made.

    Inputs are random ones, and examples of the data in every batch size that the original takes.
    """
    lowered = lowered_of(state)
    real = real_inputs(Session(context.original.model), context.data.select, REAL_EXAMPLES)
    seeds = REHEARSED_SEEDS if context.is_rehearsal else SEEDS
    inexact = inexact_cuts(context.untied.dependency, lowered.positions)
    if not inexact:
        return check_equivalence(lowered.small, lowered.masked, seeds=seeds, inputs=real)
    equivalence = check_equivalence(lowered.small, lowered.plain, seeds=seeds, inputs=real)
    note = (
        f"inexact cuts, as allowed: {', '.join(inexact)}; the compact model was compared with "
        "the trained network, because masked.onnx computes something else"
    )
    return replace(equivalence, notes=(note, *equivalence.notes))
