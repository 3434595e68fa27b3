"""One cut by calibration data: rank channels by the error in their readers, refit layers."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from acgraph.analysis.cost import model_cost
from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.analysis.outputs import output_facts
from acgraph.analysis.reuse import with_weights
from acgraph.backends.interface import Trainer, TrainingBackend
from acgraph.backends.training import TrainConfig
from acgraph.data import Subset, batch_reader
from acgraph.driver.prune.calibration import Calibration
from acgraph.driver.prune.result import Kept, MeasuredCut, PruneRequest
from acgraph.driver.space.feature_order import order_features
from acgraph.driver.space.reconstruction import BATCH, measure_layers
from acgraph.driver.space.sequential import refit_in_order
from acgraph.driver.space.space import Space
from acgraph.driver.stages.bisection import COUNTED_BAND, TargetBisection
from acgraph.ir import Array, Model, clone_model, infer_facts, replace_constants
from acgraph.pruning.importance import FloatArray
from acgraph.pruning.plan import Bools, Plan, zero
from acgraph.pruning.select import least_important, magnitude_plan
from acgraph.pruning.shrink import shrink
from acgraph.search import Point, Problem, project_to_budget, search
from acgraph.tasks import OutputTask, guess

log = logging.getLogger(__name__)

#: For a target rate: number of points to evaluate, examples for each, and the time limit (s).
EVALUATIONS, EXAMPLES, SEARCH_S = 32, 384, 180.0
#: Largest batch size of the fits.
FIT_BATCH = 32


def reweighted(dependency: DependencyGraph, weights: Mapping[str, Array]) -> DependencyGraph:
    """Return the analysis of the same graph with other values of some constants."""
    model = clone_model(dependency.model)
    known = model.constants()
    replace_constants(model, {n: v for n, v in weights.items() if n in known})
    return with_weights(dependency, model) or analyse(model)


@dataclass(frozen=True, slots=True)
class Measuring:
    """Cuts a network by calibration data.

    Attributes:
        backend: The training backend, which runs networks.
        calibration: The data.
        request: The request.
    """

    backend: TrainingBackend
    calibration: Calibration
    request: PruneRequest

    def cut(self, dependency: DependencyGraph) -> MeasuredCut:
        """Choose what to remove, and refit the remaining weights.

        Raises:
            UnsupportedOpError: The backend does not implement an operator.
        """
        given, dependency = dependency, self._in_head_bases(dependency)
        model = dependency.model
        trainer = self._trainer(model)
        space = self._space(dependency, trainer)
        weights = trainer.weights()
        plan = self._plan(space, weights)
        if not plan.sets:
            return MeasuredCut(plan=plan)
        zeroed = space.zeroed(plan)
        size = self.backend.batch_of(model) or min(
            FIT_BATCH, trainer.images_at_once(self.calibration.fitted)
        )
        read, count = batch_reader(self.calibration.fitted, size)
        run = self.backend.side_by_side(model, read, count, seed=self.calibration.seed)
        refit = refit_in_order(run, model, weights, zeroed)
        own = given.model.constants()
        plain = {name: own.get(name, value) for name, value in weights.items()}
        by_magnitude = self._by_magnitude(space, plan, plain)
        kept = Kept(
            examples=len(self.calibration.held_out),
            magnitude=self._kept(trainer, plain, space.zeroed(by_magnitude)),
            measured=self._kept(trainer, weights, zeroed),
            refitted=self._agreement(
                shrink(reweighted(dependency, refit.weights), plan).model, model
            ),
        )
        return MeasuredCut(
            plan=plan,
            weights=refit.weights,
            kept=kept,
            fits=refit.fits,
            left=refit.left,
            examples=len(self.calibration.fitted),
        )

    def _in_head_bases(self, dependency: DependencyGraph) -> DependencyGraph:
        """Return the same network with the features of attention heads in order of importance."""
        trainer = self._imitator(dependency.model)
        changed = order_features(
            dependency, trainer, self.calibration.fitted, seed=self.calibration.seed
        )
        return reweighted(dependency, changed) if changed else dependency

    def _space(self, dependency: DependencyGraph, trainer: Trainer) -> Space:
        fitted = self.calibration.fitted
        measured = measure_layers(
            dependency,
            trainer,
            fitted,
            seed=self.calibration.seed,
            batch=min(BATCH, trainer.images_at_once(fitted)),
        )
        return Space(
            dependency=dependency,
            weights=trainer.weights(),
            columns=False,
            align=self.request.align,
            allow_inexact=self.request.allow_inexact,
            reconstruction=measured,
        )

    def _plan(self, space: Space, weights: Mapping[str, Array]) -> Plan:
        if self.request.target_rate is not None:
            return self._plan_for_rate(space, weights, self.request.target_rate)
        return magnitude_plan(
            space.dependency,
            weights,
            self.request.sparsity,
            allow_inexact=self.request.allow_inexact,
            align=self.request.align,
            scores=_scores(space),
        )

    def _plan_for_rate(self, space: Space, weights: Mapping[str, Array], rate: float) -> Plan:
        """Search how many coupled sets of each family to keep, by the error of the outputs."""
        metric: Literal["params", "macs"] = self.request.metric
        trainer = self._imitator(space.dependency.model)
        before = _cost(space.dependency.model, metric)
        examples = Subset(self.calibration.fitted, np.arange(
            min(EXAMPLES, len(self.calibration.fitted)), dtype=np.int64
        ))  # fmt: skip

        def score(point: Point) -> float:
            zeroed = space.zeroed(space.plan(point, weights))
            assert space.reconstruction is not None
            trainer.load_weights(space.reconstruction.reconstruct(weights, zeroed))
            trainer.recalibrate(3, images=EXAMPLES)
            try:
                return trainer.evaluate(examples)
            finally:
                trainer.load_weights(weights)

        problem = Problem(
            knobs=space.knobs,
            cost=partial(space.cost, metric=metric),
            budget=before / rate,
            evaluate=score,
        )
        smallest = problem.cost(problem.smallest)

        def within(budget: float) -> Problem:
            return replace(problem, budget=max(budget, smallest))

        found = search(
            within(before / rate),
            "annealing",
            evaluations=EVALUATIONS,
            seed=self.calibration.seed,
            importances=space.importances(),
            sensitivity=space.sensitivity,
            time_budget_s=SEARCH_S,
        )
        log.info(
            "rates: %d points evaluated; the best explains %.3f of the variance",
            found.evaluations,
            found.score,
        )

        def measure(point: Point) -> float:
            return _cost(shrink(space.dependency, space.plan(point, weights)).model, metric)

        def place(budget: float) -> Point:
            return project_to_budget([float(kept) for kept in found.point], within(budget))

        bisection = TargetBisection(
            place=place, measure=measure, most=before / rate, least=smallest,
            band=COUNTED_BAND, repeats=1,
        )  # fmt: skip
        return space.plan(bisection.run(found.point, problem.cost(found.point)), weights)

    def _imitator(self, model: Model) -> Trainer:
        """Return a trainer whose metric is the explained variance of all outputs.

        The share of equal decisions is too coarse to distinguish points that are nearly as good.
        """
        tasks = guess(output_facts(model, infer_facts(model)), stated={"": "imitate"})
        return self._trainer(model, tasks)

    def _trainer(self, model: Model, tasks: Sequence[OutputTask] | None = None) -> Trainer:
        config = TrainConfig(seed=self.calibration.seed, augment=False)
        fitted = self.calibration.fitted
        return self.backend.trainer(model, fitted, teacher=model, config=config, tasks=tasks)

    def _by_magnitude(self, space: Space, plan: Plan, weights: Mapping[str, Array]) -> Plan:
        """Return a plan that removes the same numbers of coupled sets, chosen by magnitude."""
        by_name = {family.name: family for family in space.dependency.families}
        return Plan(
            sets={
                name: least_important(by_name[name], {**space.weights, **weights}, int(gone.sum()))
                for name, gone in plan.sets.items()
            }
        )

    def _kept(
        self, trainer: Trainer, weights: Mapping[str, Array], zeroed: Mapping[str, Bools]
    ) -> float:
        """Return the agreement with the original after a cut without refitting."""
        trainer.load_weights({**weights, **zero(weights, zeroed)})
        return trainer.evaluate(self.calibration.held_out)

    def _agreement(self, small: Model, original: Model) -> float:
        """Return the agreement of a compact model with the original."""
        trainer = self.backend.trainer(small, None, teacher=original)
        return trainer.evaluate(self.calibration.held_out)


def _scores(space: Space) -> dict[str, FloatArray]:
    """Score the coupled sets of the families whose readers were measured."""
    found = {}
    for family in space.families:
        order = space.reconstruction and space.reconstruction.sets(family, space.weights)
        if order:
            found[family.name] = order.scores
    return found


def _cost(model: Model, metric: Literal["params", "macs"]) -> float:
    return float(getattr(model_cost(model), metric))
