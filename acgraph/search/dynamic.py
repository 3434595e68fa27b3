"""Allocation by dynamic programming over tables of loss and cost, as in SPDY.

Frantar and Alistarh, "SPDY: Accurate Pruning with Speedup Guarantees", ICML 2022: the loss and the
cost of a point are approximated by sums over its knobs; the smallest loss within a budget is then a
knapsack problem. The relative weights of the tables are searched by evaluating the solutions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from acgraph.search.budget import project_to_budget
from acgraph.search.evaluator import Evaluator
from acgraph.search.problem import Knob, Point, Problem

FloatArray = npt.NDArray[np.float64]
Sensitivity = Callable[[int, int], float]
"""Loss, in units of the score, of cutting only knob ``index`` to ``kept``."""

_MAX_STATES = 1024
_MUTATED = 0.1
_MUTATION = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Loss and cost of the counts of one knob.

    Attributes:
        kept: Allowed counts, ascending.
        cost: Cost of each count minus that of the first one.
        loss: Loss of score if only this knob is cut, for each count.
    """

    kept: tuple[int, ...]
    cost: FloatArray
    loss: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Front:
    """Pareto front of the choices for the knobs so far, by ascending cost."""

    cost: FloatArray
    loss: FloatArray
    parent: npt.NDArray[np.int64]
    option: npt.NDArray[np.int64]


def grid(knob: Knob, levels: int) -> tuple[int, ...]:
    """Return at most ``levels`` (at least 2) allowed counts of a knob, including both ends.

    Half are spaced linearly, for small cuts, and half geometrically, for large ones.
    """
    count = -(-(knob.size - knob.floor) // knob.step) + 1
    if count <= levels:
        return tuple(dict.fromkeys(knob.raised(knob.floor, i) for i in range(count)))
    smallest = max(knob.floor, knob.size / 256.0)
    half = (levels - 2) // 2
    inner = [
        *np.linspace(smallest, knob.size, half + 2)[1:-1],
        *np.geomspace(smallest, knob.size, levels - half)[1:-1],
    ]
    return tuple(sorted({knob.floor, knob.size, *(knob.snap(float(kept)) for kept in inner)}))


def tables(problem: Problem, sensitivity: Sensitivity, levels: int = 24) -> list[Table]:
    """Return the loss and cost tables of all knobs.

    Costs are computed around the uniform point that meets the budget: the cost of a layer depends
    on the filters of the layer before it, so that costs around the dense model would be far off.

    Args:
        problem: Knobs, cost and budget.
        sensitivity: Loss of score if a single knob is cut.
        levels: Largest number of counts for each knob.
    """
    around = project_to_budget(problem.whole, problem)
    found = []
    for index, knob in enumerate(problem.knobs):
        kept = grid(knob, levels)
        cost = np.array([problem.cost((*around[:index], k, *around[index + 1 :])) for k in kept])
        loss = np.array([sensitivity(index, k) for k in kept], dtype=np.float64)
        found.append(Table(kept=kept, cost=cost - cost[0], loss=loss))
    return found


def allocate(problem: Problem, found: Sequence[Table], weights: FloatArray | None = None) -> Point:
    """Return the point with the smallest total loss within the budget, projected onto the budget.

    The minimum is exact for additive costs and up to ``_MAX_STATES`` Pareto-optimal choices. If
    costs are not additive, it is the most expensive point of the front whose true cost fits.

    Args:
        problem: Knobs, cost and budget.
        found: The tables of the knobs.
        weights: Factor of each knob's loss; 1 by default.
    """
    factors = np.ones(len(found)) if weights is None else weights
    slack = problem.budget - problem.cost(problem.smallest)
    # Twice the slack, because the true cost may be less than the sum over the tables.
    fronts = _fronts(found, factors, 2.0 * max(slack, 0.0))
    low, high = 0, fronts[-1].cost.size - 1
    while low < high:
        middle = (low + high + 1) // 2
        if problem.fits(_choice(fronts, found, middle)):
            low = middle
        else:
            high = middle - 1
    return project_to_budget(_choice(fronts, found, low), problem)


def sensitivity_by_evaluation(problem: Problem, evaluator: Evaluator, share: float) -> Sensitivity:
    """Measure sensitivities by evaluating points at which a single knob is cut.

    Losses between the evaluated counts are interpolated.

    Args:
        problem: Knobs, cost and budget.
        evaluator: Evaluates points.
        share: Share of the remaining evaluations to use.
    """
    levels = max(2, int(share * evaluator.remaining) // len(problem.knobs) + 1)
    whole = problem.whole
    grids = [grid(knob, levels) for knob in problem.knobs]
    singles = {
        (index, kept): (*whole[:index], kept, *whole[index + 1 :])
        for index, counts in enumerate(grids)
        for kept in counts
    }
    scores = evaluator.scores([whole, *singles.values()])
    best = scores.get(whole, max(scores.values()))
    curves = []
    for index, counts in enumerate(grids):
        measured = [kept for kept in counts if singles[index, kept] in scores]
        losses = [best - scores[singles[index, kept]] for kept in measured]
        curves.append((measured or [whole[index]], losses or [0.0]))
    return lambda index, kept: float(np.interp(kept, *curves[index]))


def refine(
    problem: Problem, evaluator: Evaluator, found: Sequence[Table], rng: np.random.Generator
) -> None:
    """Search the relative weights of the tables by random local search.

    All remaining evaluations are used; the evaluator has the result.

    Args:
        problem: Knobs, cost and budget.
        evaluator: Evaluates points, up to its limit.
        found: The tables of the knobs.
        rng: The random number generator.
    """
    factors = np.ones(len(found))
    point = allocate(problem, found)
    best = evaluator.scores([point]).get(point, -np.inf)
    repeats = 0
    while evaluator.remaining > 0 and repeats < 50:
        changed = rng.random(len(found)) < _MUTATED
        changed[rng.integers(len(found))] = True
        mutant = factors * np.exp(changed * rng.normal(0.0, _MUTATION, len(found)))
        point = allocate(problem, found, mutant)
        repeats = repeats + 1 if evaluator.is_known(point) else 0
        score = evaluator.scores([point]).get(point, -np.inf)
        if score >= best:
            factors, best = mutant, score
            evaluator.accept(point)


def _fronts(found: Sequence[Table], factors: FloatArray, limit: float) -> list[_Front]:
    fronts: list[_Front] = []
    cost, loss = np.zeros(1), np.zeros(1)
    for table, factor in zip(found, factors, strict=True):
        costs = np.add.outer(cost, table.cost).ravel()
        losses = np.add.outer(loss, factor * table.loss).ravel()
        best = _undominated(costs, losses, limit)
        cost, loss = costs[best], losses[best]
        parent, option = np.divmod(best, len(table.kept))
        fronts.append(_Front(cost=cost, loss=loss, parent=parent, option=option))
    return fronts


def _undominated(cost: FloatArray, loss: FloatArray, limit: float) -> npt.NDArray[np.int64]:
    """Return the indices of the Pareto front by ascending cost, at most ``_MAX_STATES`` of them."""
    order = np.lexsort((loss, cost))
    order = order[(cost[order] <= limit) | (cost[order] <= cost.min())]
    least_before = np.concatenate(([np.inf], np.minimum.accumulate(loss[order])[:-1]))
    front = order[loss[order] < least_before]
    if front.size <= _MAX_STATES:
        return np.asarray(front)
    edges = np.linspace(0.0, cost[front[-1]], _MAX_STATES)
    # The most expensive state of each bucket has the smallest loss.
    last = np.searchsorted(cost[front], edges, side="right") - 1
    return np.asarray(front[np.unique(last[last >= 0])])


def _choice(fronts: Sequence[_Front], found: Sequence[Table], state: int) -> Point:
    kept: list[int] = []
    for front, table in zip(reversed(fronts), reversed(found), strict=True):
        kept.append(table.kept[front.option[state]])
        state = int(front.parent[state])
    return tuple(reversed(kept))
