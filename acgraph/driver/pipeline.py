"""The stages of a run, in their order.

::

    prepare -> rehearse -> plan -> round, repeated -> purify -> fine-tune
            -> lower -> verify -> export -> measure

Each stage makes a new state from the previous one; the state that a training stage returns is what
its checkpoint stores. The equivalence check precedes the export, because the written model states
its result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from acgraph.driver.stages.climb import is_climb_over, next_attempt
from acgraph.driver.stages.export import export
from acgraph.driver.stages.fine_tune import fine_tune
from acgraph.driver.stages.lower import lower
from acgraph.driver.stages.measure import measure
from acgraph.driver.stages.plan import plan
from acgraph.driver.stages.prepare import prepare
from acgraph.driver.stages.purify import purify
from acgraph.driver.stages.rehearse import rehearse
from acgraph.driver.stages.rounds import next_round
from acgraph.driver.stages.verify import verify
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State

#: Stores a state as a checkpoint of this name, and returns the state with the name.
Save = Callable[[Context, State, str], State]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        name: Its name, also in checkpoints.
        run: Returns the next state.
        is_saved: Whether a checkpoint stores the state that it returns.
        is_over: For a repeated stage: whether it need not run again; None if it runs once.
    """

    name: str
    run: Callable[[Context, State], State]
    is_saved: bool = False
    is_over: Callable[[Context, State], bool] | None = None


def _round(context: Context, state: State) -> State:
    """Run the next round, or the next attempt if there is no target rate."""
    step = next_attempt if state.schedule.attempts else next_round
    return step(context, state)


def _is_over(context: Context, state: State) -> bool:
    """Return whether no round, or attempt, is left."""
    if state.schedule.attempts:
        return is_climb_over(context, state)
    return state.number >= len(state.schedule.rates)


#: The stages that cut and train the network; then those that write the result.
TRAINING = (
    Stage("prepare", prepare),
    Stage("rehearse", rehearse),
    Stage("plan", plan, is_saved=True),
    Stage("round", _round, is_saved=True, is_over=_is_over),
    Stage("purify", purify, is_saved=True),
    Stage("fine-tune", fine_tune, is_saved=True),
)
WRITING = (
    Stage("lower", lower),
    Stage("verify", verify),
    Stage("export", export),
    Stage("measure", measure),
)
STAGES = (*TRAINING, *WRITING)


def is_trained(state: State) -> bool:
    """Return whether only the stages that write the results are left."""
    return state.stage == TRAINING[-1].name


def run_stages(
    stages: Sequence[Stage], context: Context, state: State, save: Save | None = None
) -> State:
    """Run stages in order, from the first that is not done in the state.

    Args:
        stages: The stages.
        context: The context of the run.
        state: The state to begin with.
        save: Stores the state that a stage returns; None stores nothing.
    """
    names = [stage.name for stage in stages]
    first = names.index(state.stage) + 1 if state.stage in names else 0
    for stage in stages[first:]:
        state = _repeated(stage, context, state, save)
    return state


def _repeated(stage: Stage, context: Context, state: State, save: Save | None) -> State:
    """Run a stage, repeatedly if it is a repeated one, and record that it is done."""
    keep = save if stage.is_saved else None
    if stage.is_over is None:
        state = replace(stage.run(context, state), stage=stage.name)
        return state if keep is None else keep(context, state, stage.name)
    while not stage.is_over(context, state):
        state = stage.run(context, state)
        state = state if keep is None else keep(context, state, f"{stage.name}-{state.number}")
    return replace(state, stage=stage.name)
