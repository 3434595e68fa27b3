"""One round within a run: what it may cost, what it is given, what it leaves."""

from acgraph.analysis.cost import model_cost
from acgraph.analysis.dependency import analyse
from acgraph.diagnostics import counted
from acgraph.driver.cost.compact import SmallestChooser, compact
from acgraph.driver.latency.runtime import run_settings
from acgraph.driver.latency.target import RESERVE, LatencyModel
from acgraph.driver.stages.round import RoundResult, RoundTask, run_round
from acgraph.driver.state.positions import compose
from acgraph.driver.state.run import Run, budget_of, can_cut, written_cost
from acgraph.ir import Model
from acgraph.report import AdmmUpdate, Round, SearchPoint, format_rate

#: Fences named on the terminal where they let nothing be cut; the report has them all.
SHOWN_FENCES = 10


def cut(
    run: Run,
    name: str,
    number: int,
    rate: float,
    *,
    cost: float,
    is_exact: bool,
    enough: float | None = None,
) -> RoundResult | None:
    """Cut the graph of a run to a rate, or as far as may be; None where nothing may.

    Args:
        run: Gets the cut graph.
        name: What the round is called on the terminal.
        number: Of the round, for seeds.
        rate: Before / after of the target metric, measured from the original.
        cost: Of the graph as it is, see ``written_cost``.
        is_exact: Whether the model as it would be written must be at the rate.
        enough: Accuracy on the selection split at which retraining is spared.
    """
    budget = budget_of(run, rate)
    unit, reserve = 1.0, 1.0
    if run.config.metric == "size":
        unit = _params_per_byte(run)
    point_cost = None
    if run.config.metric == "latency":
        reserve += RESERVE
        run.say(f"{name}: timing layers")
        point_cost = LatencyModel(
            original=run.original, chooser=run.chooser, whole=cost, budget=budget,
            settings=run_settings(run.config),
        )  # fmt: skip

    def actual_cost(model: Model) -> float:
        return reserve * unit * written_cost(run, model)

    result = run_round(
        RoundTask(
            model=run.model,
            backend=run.backend,
            teacher=run.original,
            data=run.data,
            config=run.config,
            stages=run.stages,
            number=number,
            budget=unit * budget,
            point_cost=point_cost,
            actual_cost=actual_cost if is_exact else None,
            progress=run.progress,
            say=run.say,
            warn=run.warn,
            enough=enough,
            evaluation_s=_evaluation_s(run),
        )
    )
    if result is not None:
        _take(run, name, result)
        run.tell_frontier(run.rounds[-1].rate, result.accuracy, result.epochs)
    return result


def _evaluation_s(run: Run) -> float | None:
    """Seconds of an evaluation, where time matters: elsewhere no clock decides anything."""
    is_timed = run.pace is not None and run.config.time_budget is not None
    return run.pace.evaluation_s if run.pace is not None and is_timed else None


def _params_per_byte(run: Run) -> float:
    """What turns bytes into the params that the search counts."""
    small, _ = compact(run.model, SmallestChooser())
    cost = model_cost(small)
    return cost.params / cost.bytes


def _take(run: Run, name: str, result: RoundResult) -> None:
    """Make what a round left the state of the run."""
    run.positions = compose(run.positions, result.shrunk)
    run.model = result.shrunk.model
    run.rounds.append(
        Round(
            rate=budget_of(run, 1.0) / written_cost(run, run.model),
            accuracy=result.accuracy,
            epochs=result.epochs,
            seconds=result.seconds,
            evaluations=result.evaluations,
            admm=[AdmmUpdate(primal=r.primal, dual=r.dual, rho=r.rho) for r in result.residuals],
        )
    )
    best, number = 0.0, len(run.rounds)
    for entry in result.history:
        best = max(best, entry.score)
        run.history.append(SearchPoint(round=number, score=entry.score, best=best))
    run.say(
        f"{name}: {format_rate(run.rounds[-1].rate)}, "
        f"{run.data.measure} {100 * result.accuracy:.2f} %, "
        f"{counted(result.epochs, 'epoch', '.2g')}, {counted(result.evaluations, 'evaluation')}, "
        f"{result.seconds:.0f} s"
    )


def say_out_of_reach(run: Run, rate: float) -> None:
    """Warn, where the last cut that is allowed is above the budget, how far it comes."""
    reached = budget_of(run, 1.0) / written_cost(run, run.model)
    if reached >= rate:
        return
    rounds = f"{len(run.rounds)} round{'s' if len(run.rounds) > 1 else ''}"
    if run.rounds:
        run.warn(
            f"a rate of {format_rate(rate)} is out of reach: all that may be cut in {rounds} "
            f"leaves {format_rate(reached)}"
        )
    elif not can_cut(run.model, run.config):
        run.warn("nothing can be cut, see the fences")
        for fence in analyse(run.original).all_fences()[:SHOWN_FENCES]:
            run.say(f"fence: {fence}")
    else:
        run.warn("nothing can be cut: every layer is as small as it may be")
