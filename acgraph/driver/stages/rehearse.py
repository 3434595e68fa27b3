"""The end of a run before its beginning: whatever would fail after training fails now."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from acgraph.analysis.dependency import analyse
from acgraph.data import Dataset, Subset, spread_indices
from acgraph.diagnostics import Location
from acgraph.driver.cost.terms import CostMetric
from acgraph.driver.inputs.data import RunData
from acgraph.driver.latency.chooser import make_chooser
from acgraph.driver.results.folder import check_room, rehearsed
from acgraph.driver.space.space import Space, open_space
from acgraph.driver.stages.export import Made, make_models, write_results
from acgraph.driver.stages.purify import purify
from acgraph.driver.stages.round import mask_hard
from acgraph.driver.state.positions import compose
from acgraph.driver.state.run import Rehearsal, Run
from acgraph.errors import AcgraphError, BackendError, VerifyError
from acgraph.ir import Model
from acgraph.pruning.shrink import shrink
from acgraph.search import Point, Problem, next_rate, project_to_budget

#: Examples that the rehearsal measures and quantises by.
EXAMPLES = 8
#: Copies of the weights among the checkpoints: two stages, and two states of fine-tuning, each of
#: weights, momentum and average.
_CHECKPOINT_COPIES = 8
#: Of the compact model: itself, the file for phones, and one of int8 at most.
_COMPACT_COPIES = 3
#: Bytes of reports, plans and states.
_TEXTS = 1 << 22


def rehearse(run: Run) -> Rehearsal:
    """Cut the graph of a run by magnitude, and do all that the run does after training.

    The results are written on the disk where they will be, and thrown away.

    Args:
        run: Before its first round; it stays as it is.

    Raises:
        AcgraphError: what the run would have ended with after all its training.
    """
    begin = time.perf_counter()
    # Lowerings are not timed here: which one is the fastest is no matter.
    config = run.config.model_copy(update={"timing": False})
    copy = replace(
        run, config=config, chooser=make_chooser(config.metric, timing=False),
        data=_few(run.data), rounds=[], history=[], frontier=[], warnings=[], is_rehearsed=True,
    )  # fmt: skip
    with _seen_early(run):
        trained = _cut(copy)
        cut_s = time.perf_counter() - begin
        made = make_models(copy, trained)
        if not made.law.passed:
            raise VerifyError(f"the equivalence check fails: {made.law.failures[0]}")
        check_s = time.perf_counter() - begin - cut_s
        check_room(run.config.output, _needed_bytes(made))
        with rehearsed(run.config.output) as folder:
            report = write_results(copy, made, folder)
        if config.quantize is not None and report.int8 is None:
            raise BackendError(copy.warnings[-1], hint="leave --quantize out")
    return Rehearsal(
        cut_s=cut_s, check_s=check_s, export_s=time.perf_counter() - begin - cut_s - check_s
    )


def _cut(run: Run) -> Model:
    """Cut by magnitude at the rate that is asked for, as a round does at its end."""
    space = open_space(run.model, run.config)
    if not space.knobs:
        return run.model
    plan = space.masked_plan(_point(run, space), space.weights)
    trainer = run.backend.trainer(run.model, None, config=run.config.train)
    mask_hard(trainer, space, plan)
    shrunk = shrink(analyse(trainer.model()), plan)
    run.positions = compose(run.positions, shrunk)
    if not run.config.purify:
        return shrunk.model
    purified = purify(shrunk.model, run.data, None, run.config)
    run.positions = compose(run.positions, purified.shrunk)
    return purified.shrunk.model


def _point(run: Run, space: Space) -> Point:
    metric: CostMetric = "params" if run.config.metric in ("params", "size") else "macs"
    target = run.config.target_rate
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

    return RunData(train=few(data.train), select=few(data.select), report=few(data.report))


def _needed_bytes(made: Made) -> int:
    """Estimate how much a run writes."""
    dense, small = (
        sum(value.nbytes for value in model.constants().values())
        for model in (made.masked, made.small)
    )
    return (1 + _CHECKPOINT_COPIES) * dense + _COMPACT_COPIES * small + _TEXTS


@contextmanager
def _seen_early(run: Run) -> Iterator[None]:
    """Say of an error that it is the end of the run that was seen, and that nothing is lost."""
    try:
        yield
    except AcgraphError as error:
        found = error.diagnostic
        where = found.location
        if not where.model or ".rehearsal" in where.model:
            where = Location(model=run.original.source, node=where.node, value=where.value)
        hint = f"{found.hint}; " if found.hint else ""
        raise type(error)(
            found.message, location=where, hint=f"{hint}nothing was trained yet"
        ) from error
