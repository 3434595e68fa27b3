"""Latency as a target: measured for the whole model, predicted for the points of a search."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from acgraph.backends.ort.latency import NOISE, compare_latency, measure_latency
from acgraph.backends.ort.layer_timing import timing_chooser
from acgraph.backends.ort.session import SessionSettings
from acgraph.driver.cost.compact import compact
from acgraph.driver.latency.table import latency_cost, time_layers
from acgraph.driver.space.space import Space
from acgraph.ir import Model
from acgraph.lowering.base import Chooser
from acgraph.lowering.chooser import cache_folder
from acgraph.pruning.shrink import shrink
from acgraph.search import Point, Problem, project_to_budget

log = logging.getLogger(__name__)

#: Measuring time in seconds for each form of a layer at each point of its table.
TABLE_BUDGET_S = 0.02
#: Number of whole models that are measured to correct the tables, and the largest correction.
PROBES = 3
MAX_POWER = 4.0
#: A plan is tightened until the measured rate is this much above the target, because the report
#: measures it again.
RESERVE = NOISE


def share_of_latency(
    original: Model, shrunk: Model, chooser: Chooser, settings: SessionSettings
) -> float:
    """Measure the latency of a shrunk model in its written form, as a share of the original's.

    The runs of both alternate. Training does not change the latency of a model.
    """
    small, _ = compact(shrunk, chooser)
    before, after = measure_latency([original, small], settings)
    return 1.0 / compare_latency(before, after).median


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyModel:
    """Predicts the latency of points: tables of layers, corrected by measured whole models.

    Attributes:
        original: The model whose latency others are shares of.
        chooser: Chooses the compact form of each layer.
        whole: The share that the current model takes.
        budget: The target share; the prediction is corrected there.
        settings: Settings of the sessions.
    """

    original: Model
    chooser: Chooser
    whole: float
    budget: float
    settings: SessionSettings

    def __call__(self, space: Space) -> Callable[[Point], float]:
        """Return a function that predicts the latency of a point as a share of the original's.

        The sum of separately timed layers is not the latency of a network: running a layer alone
        has overhead, and a network has other nodes. So the sum is raised to the power that makes it
        right for a uniform plan (the same share kept everywhere) that meets the budget.
        """
        timer = timing_chooser(
            "latency",
            self.settings,
            cache_dir=cache_folder() / "tables",
            budget_s=TABLE_BUDGET_S,
        )
        sums = latency_cost(space, time_layers(space, timer.fastest_ms), 1.0)
        power = 1.0
        for _ in range(PROBES):
            cost = self._powered(sums, power)
            point = self._uniform(space, cost)
            predicted, layer_sum = cost(point), sums(point)
            if layer_sum >= 1.0:
                break
            shrunk = shrink(space.dependency, space.plan(point, space.weights)).model
            measured = share_of_latency(self.original, shrunk, self.chooser, self.settings)
            log.info("latency predicted %.3g, measured %.3g", predicted, measured)
            found = np.log(measured / self.whole) / np.log(layer_sum)
            power = float(np.clip(found, 1.0 / MAX_POWER, MAX_POWER))
            if abs(measured / predicted - 1.0) < NOISE:
                break
        return self._powered(sums, power)

    def _powered(self, sums: Callable[[Point], float], power: float) -> Callable[[Point], float]:
        return lambda point: self.whole * sums(point) ** power

    def _uniform(self, space: Space, cost: Callable[[Point], float]) -> Point:
        problem = Problem(
            knobs=space.knobs, cost=cost, budget=self.budget, evaluate=lambda point: 0.0
        )
        least = cost(problem.smallest)
        return project_to_budget(problem.whole, replace(problem, budget=max(self.budget, least)))
