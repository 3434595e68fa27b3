"""Run the next round of the schedule, and update the state."""

from dataclasses import dataclass, replace

from acgraph.analysis.cost import model_cost
from acgraph.diagnostics import counted
from acgraph.driver.cost.compact import SmallestChooser, compact
from acgraph.driver.latency.runtime import run_settings
from acgraph.driver.latency.target import RESERVE, LatencyModel
from acgraph.driver.network import Network
from acgraph.driver.stages.goal import Goal
from acgraph.driver.stages.round import RoundResult, run_round
from acgraph.driver.stages.target import budget_of, can_cut, rate_of, written_cost
from acgraph.driver.state.context import Context
from acgraph.driver.state.positions import compose
from acgraph.driver.state.records import (
    AdmmRecord,
    FitRecord,
    RateRecord,
    RoundRecord,
    SearchRecord,
    pass_records,
)
from acgraph.driver.state.state import State, Warnings
from acgraph.pruning.rate import format_rate

#: Largest number of fences to list on the terminal; the report has all of them.
SHOWN_FENCES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTarget:
    """The target of one round.

    Attributes:
        name: Name of the round on the terminal.
        number: Number of the round, for seeds.
        rate: The target metric before / after, relative to the original.
        cost: Cost of the current graph, see ``written_cost``.
        is_exact: Whether the model in its written form must meet the rate.
        enough: Accuracy on the selection split at which retraining is skipped; None never skips.
    """

    name: str
    number: int
    rate: float
    cost: float
    is_exact: bool
    enough: float | None = None


def next_round(context: Context, state: State) -> State:
    """Run the next round of the schedule."""
    number = state.number + 1
    rate, last = state.schedule.rates[number - 1], number == len(state.schedule.rates)
    done = replace(state, number=number)
    cost = written_cost(context, state.network)
    if cost <= budget_of(context, rate):
        context.reporter.status(
            f"round {number}: skipped, because the network is already at {format_rate(rate)}"
        )
        return done
    aim = RoundTarget(name=f"round {number}", number=number, rate=rate, cost=cost, is_exact=last)
    found = cut(context, done, aim)
    after = done if found is None else found[0]
    if last and (found is None or found[1].is_exhausted):
        return warn_out_of_reach(context, after, rate)
    return after


def cut(context: Context, state: State, aim: RoundTarget) -> tuple[State, RoundResult] | None:
    """Cut the graph of a run to a rate, or as far as allowed; None if nothing may be cut.

    Args:
        context: The context of the run.
        state: The state before the round.
        aim: The target of the round.
    """
    config, warnings = context.config, Warnings(context, state)
    budget = budget_of(context, aim.rate)
    unit, reserve = 1.0, 1.0
    if config.metric == "size":
        unit = _params_per_byte(state.network)
    point_cost = None
    if config.metric == "latency":
        reserve += RESERVE
        context.reporter.status(f"{aim.name}: timing layers")
        point_cost = LatencyModel(
            original=context.original.model, chooser=context.chooser, whole=aim.cost,
            budget=budget, settings=run_settings(config),
        )  # fmt: skip

    def actual_cost(network: Network) -> float:
        return reserve * unit * written_cost(context, network)

    goal = Goal(
        number=aim.number,
        budget=unit * budget,
        point_cost=point_cost,
        actual_cost=actual_cost if aim.is_exact else None,
        enough=aim.enough,
    )
    result = run_round(context, state, goal, warnings.add)
    if result is None:
        return None
    after = _state_after(context, replace(state, warnings=warnings.texts), aim.name, result)
    return after, result


def _params_per_byte(network: Network) -> float:
    """Return the factor from bytes to params, which the search counts."""
    small, _ = compact(network.model, SmallestChooser())
    cost = model_cost(small)
    return cost.params / cost.bytes


def _state_after(context: Context, state: State, name: str, result: RoundResult) -> State:
    """Return the state after a round."""
    done = RoundRecord(
        rate=rate_of(context, result.network),
        accuracy=result.accuracy,
        epochs=result.epochs,
        seconds=result.seconds,
        evaluations=result.evaluations,
        admm=tuple(AdmmRecord(primal=r.primal, dual=r.dual, rho=r.rho) for r in result.residuals),
        fits=tuple(FitRecord(name=f.name, before=f.before, after=f.after) for f in result.fits),
    )
    best, number, evaluated = 0.0, len(state.rounds) + 1, []
    for entry in result.history:
        best = max(best, entry.score)
        evaluated.append(
            SearchRecord(
                round=number,
                score=entry.score,
                best=best,
                cost=entry.cost / result.search_budget if result.search_budget else 1.0,
                accepted=entry.accepted,
                temperature=entry.temperature,
                chosen=entry.point == result.searched,
            )
        )
    context.reporter.status(
        f"{name}: {format_rate(done.rate)}, "
        f"{context.data.measure} {100 * result.accuracy:.2f} %, "
        f"{counted(result.epochs, 'epoch', '.2g')}, {counted(result.evaluations, 'evaluation')}, "
        f"{result.seconds:.0f} s"
    )
    tried = RateRecord(rate=done.rate, accuracy=result.accuracy, epochs=result.epochs)
    return replace(
        state,
        network=result.network,
        positions=compose(state.positions, result.shrunk),
        rounds=(*state.rounds, done),
        history=(*state.history, *evaluated),
        training=(*state.training, *pass_records(result.training)),
        frontier=(*state.frontier, tried),
    )


def warn_out_of_reach(context: Context, state: State, rate: float) -> State:
    """Warn that the largest allowed cut does not reach the rate, and name the rate it reaches."""
    warnings = Warnings(context, state)
    reached = rate_of(context, state.network)
    if reached >= rate:
        return state
    rounds = f"{len(state.rounds)} round{'s' if len(state.rounds) > 1 else ''}"
    if state.rounds:
        warnings.add(
            f"a rate of {format_rate(rate)} is out of reach: cutting everything that may be "
            f"cut in {rounds} gives {format_rate(reached)}"
        )
    elif not can_cut(state.network, context.config):
        warnings.add("nothing can be cut: see the fences")
        for fence in context.untied.dependency.all_fences()[:SHOWN_FENCES]:
            context.reporter.status(f"fence: {fence}")
    else:
        warnings.add("nothing can be cut: every layer is as small as it may be")
    return replace(state, warnings=warnings.texts)
