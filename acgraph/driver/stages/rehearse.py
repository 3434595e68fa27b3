"""Rehearse the last stages before training, so that errors in them appear early."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from acgraph.data import Dataset, Subset, spread_indices
from acgraph.diagnostics import Location
from acgraph.driver.cost.point import CostMetric
from acgraph.driver.evaluation.proxy import masked_weights
from acgraph.driver.inputs.data import RunData
from acgraph.driver.latency.chooser import make_chooser
from acgraph.driver.network import Network
from acgraph.driver.passes import PassSettings
from acgraph.driver.results.folder import check_room, rehearsed
from acgraph.driver.space.space import Space, open_space
from acgraph.driver.stages.export import export
from acgraph.driver.stages.lower import lower
from acgraph.driver.stages.measure import measure
from acgraph.driver.stages.purify import purified
from acgraph.driver.stages.verify import verify
from acgraph.driver.state.context import Context
from acgraph.driver.state.positions import compose
from acgraph.driver.state.records import Rehearsal
from acgraph.driver.state.state import Files, Lowered, State, equivalence_of, lowered_of
from acgraph.driver.training.masks import training_masks
from acgraph.errors import AcgraphError, BackendError, VerifyError
from acgraph.ir import clone_model, replace_constants
from acgraph.pruning.shrink import shrink
from acgraph.search import Point, Problem, next_rate, project_to_budget

#: Number of examples for evaluation and quantisation in the rehearsal.
EXAMPLES = 8
#: Copies of the weights in the checkpoints: the network before any cut, two stages, and two states
#: of fine-tuning with weights, momentum and average each.
_CHECKPOINT_COPIES = 9
#: Copies of the compact model's size: the model, its ``.ort`` file, and at most one int8 model.
_COMPACT_COPIES = 3
#: Bytes for reports, plans and states.
_TEXTS = 1 << 22


def rehearse(context: Context, state: State) -> State:
    """Cut the graph of a run by magnitude, and run all stages that follow training.

    The results are written to the disk of the output folder, and deleted.

    Args:
        context: The context of the run.
        state: The state before the first round.

    Returns:
        The same state with the durations of the rehearsal.

    Raises:
        AcgraphError: The run would have failed after training with this error.
    """
    with rehearsed(context.config.output) as folder:
        done = rehearsal_in(folder, context, state).rehearsal
    return replace(state, rehearsal=done)


def rehearsal_in(folder: Path, context: Context, state: State) -> State:
    """Rehearse as :func:`rehearse` does, in a folder that the caller deletes.

    Returns:
        The last state of the rehearsal, with its report and its durations.

    Raises:
        AcgraphError: The run would have failed after training with this error.
    """
    begin = time.perf_counter()
    # Lowerings are not timed here, because it does not matter which one is the fastest.
    config = context.config.model_copy(update={"timing": False})
    quiet = replace(
        context, config=config, chooser=make_chooser(config.metric, timing=False),
        data=_few(context.data), reporter=replace(context.reporter, is_silent=True),
        passes=PassSettings(), is_rehearsal=True,
    )  # fmt: skip
    with _with_early_hint(context):
        own = _cut(quiet, replace(state, warnings=()))
        cut_s = time.perf_counter() - begin
        own = verify(quiet, lower(quiet, own))
        if not equivalence_of(own).passed:
            raise VerifyError(f"the equivalence check failed: {equivalence_of(own).failures[0]}")
        check_s = time.perf_counter() - begin - cut_s
        check_room(config.output, _needed_bytes(lowered_of(own)))
        own = measure(quiet, export(quiet, replace(own, files=Files(folder=folder, models=()))))
        if config.quantize is not None and own.report is not None and own.report.int8 is None:
            raise BackendError(own.warnings[-1], hint="omit --quantize")
    done = Rehearsal(
        cut_s=cut_s, check_s=check_s, export_s=time.perf_counter() - begin - cut_s - check_s
    )
    context.reporter.status(f"rehearsal: {done.describe()}")
    return replace(own, rehearsal=done)


def _cut(context: Context, state: State) -> State:
    """Cut by magnitude at the target rate, as a round does at its end."""
    space = open_space(state.network, context.config, context.functions.importance)
    if not space.knobs:
        return state
    plan = space.masked_plan(_point(context, space), space.weights)
    masks = training_masks(space, plan, space.weights)
    zeroed = {name: ~mask for name, mask in masks.items()}
    masked = clone_model(state.network.model)
    replace_constants(masked, masked_weights(space, space.weights, zeroed))
    shrunk = shrink(state.network.trained(masked).dependency, plan)
    cut = replace(state, network=Network(shrunk.model), positions=compose(state.positions, shrunk))
    if not context.config.purify:
        return cut
    found = purified(cut.network, context.data, None, context.config)
    if not found.removed_sets:
        return cut
    return replace(
        cut,
        network=Network(found.shrunk.model),
        positions=compose(cut.positions, found.shrunk),
    )


def _point(context: Context, space: Space) -> Point:
    config = context.config
    metric: CostMetric = "params" if config.metric in ("params", "size") else "macs"
    target = config.target_rate
    rate = target.value if target is not None else next_rate([]) or 1.0
    whole = tuple(knob.size for knob in space.knobs)
    cost = partial(space.cost, metric=metric)
    problem = Problem(knobs=space.knobs, cost=cost, budget=cost(whole), evaluate=lambda _: 0.0)
    least = problem.cost(problem.smallest)
    return project_to_budget(
        [float(size) for size in whole], replace(problem, budget=max(cost(whole) / rate, least))
    )


def _few(data: RunData) -> RunData:
    def few(part: Dataset) -> Subset:
        return Subset(part, spread_indices(len(part), EXAMPLES))

    return RunData(
        train=few(data.train), select=few(data.select), report=few(data.report), tasks=data.tasks
    )


def _needed_bytes(lowered: Lowered) -> int:
    """Estimate the number of bytes that a run writes."""
    dense, small = (
        sum(value.nbytes for value in model.constants().values())
        for model in (lowered.masked, lowered.small)
    )
    return (1 + _CHECKPOINT_COPIES) * dense + _COMPACT_COPIES * small + _TEXTS


@contextmanager
def _with_early_hint(context: Context) -> Iterator[None]:
    """Add to an error that it occurred in the rehearsal, and that nothing is lost."""
    try:
        yield
    except AcgraphError as error:
        found = error.diagnostic
        where = found.location
        if not where.model or ".rehearsal" in where.model:
            source = context.original.model.source
            where = Location(model=source, node=where.node, value=where.value)
        hint = f"{found.hint}; " if found.hint else ""
        raise type(error)(
            found.message, location=where, hint=f"{hint}nothing has been trained yet"
        ) from error
