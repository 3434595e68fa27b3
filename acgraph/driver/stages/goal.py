"""The goal of a round, and the context that its steps share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from acgraph.config import CompressConfig
from acgraph.driver.inputs.data import RunData
from acgraph.driver.network import Network
from acgraph.driver.schedule.plan import RunSchedule
from acgraph.driver.space.sequential import LayerFit
from acgraph.driver.space.space import Space
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State
from acgraph.driver.training.curve import Curve
from acgraph.search import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The goal of a round.

    Attributes:
        number: Number of the round, for seeds.
        budget: Largest number of params or MACs after the round.
        point_cost: Returns the cost function for the points of a space, in the unit of the budget;
            None if params or MACs are counted.
        actual_cost: Returns the cost of a shrunk network in its written form. In the last round,
            the plan is adjusted until this meets the budget; None in other rounds. If there is a
            ``point_cost``, it is a measurement with noise.
        enough: Accuracy on the selection split at which retraining is skipped; None never skips.
    """

    number: int
    budget: float
    actual_cost: Callable[[Network], float] | None = None
    point_cost: Callable[[Space], Callable[[Point], float]] | None = None
    enough: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """A round in progress.

    Attributes:
        context: The context of the run.
        state: The state before the round.
        goal: The goal of the round.
        warn: Callback for warnings of the report.
        measured: Networks whose written form was measured, by point.
        curve: Collects the passes over the training data.
        fits: Collects the errors of layers that are refitted.
    """

    context: Context
    state: State
    goal: Goal
    warn: Callable[[str], None]
    measured: dict[Point, Network] = field(default_factory=dict)
    curve: Curve = field(default_factory=Curve)
    fits: list[LayerFit] = field(default_factory=list)

    @property
    def config(self) -> CompressConfig:
        """The options of the run."""
        return self.context.config

    @property
    def data(self) -> RunData:
        """The examples of the run."""
        return self.context.data

    @property
    def schedule(self) -> RunSchedule:
        """The schedule of the run."""
        return self.state.schedule

    @property
    def number(self) -> int:
        """The number of the round."""
        return self.goal.number

    def status(self, text: str) -> None:
        """Print a status line."""
        self.context.reporter.status(text)

    @property
    def evaluation_s(self) -> float | None:
        """Seconds of an evaluation if the run depends on time; otherwise None."""
        pace = self.state.pace
        return None if pace is None or self.config.time_budget is None else pace.evaluation_s
