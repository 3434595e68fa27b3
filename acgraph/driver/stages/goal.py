"""What a round is to reach, and what it works with."""

from collections.abc import Callable
from dataclasses import dataclass, field

from acgraph.config import CompressConfig
from acgraph.driver.inputs.data import RunData
from acgraph.driver.network import Network
from acgraph.driver.schedule.plan import RunSchedule
from acgraph.driver.space.space import Space
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State
from acgraph.search import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a round is to reach.

    Attributes:
        number: Of the round, for seeds.
        budget: The most params or MACs after the round.
        point_cost: Makes the cost of the points of a space, in the unit of the budget; None where
            params or MACs are counted.
        actual_cost: Cost of a shrunk network as it would be written, for the last round: the plan
            is moved until this is at the budget. None in rounds that need not be exact.
            Where points have a ``point_cost``, this one is measured, with noise.
        enough: Accuracy on the selection split at which retraining is spared; None spares none.
    """

    number: int
    budget: float
    actual_cost: Callable[[Network], float] | None = None
    point_cost: Callable[[Space], Callable[[Point], float]] | None = None
    enough: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """A round under way.

    Attributes:
        context: The run.
        state: Before the round.
        goal: What it is to reach.
        warn: Who is told what the reader of the report must know.
        measured: Networks whose cost as written was measured, by their points.
    """

    context: Context
    state: State
    goal: Goal
    warn: Callable[[str], None]
    measured: dict[Point, Network] = field(default_factory=dict)

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
        """How the budget of the run is spent."""
        return self.state.schedule

    @property
    def number(self) -> int:
        """The number of the round."""
        return self.goal.number

    def say(self, text: str) -> None:
        """Print a line."""
        self.context.reporter.say(text)

    @property
    def evaluation_s(self) -> float | None:
        """Seconds of an evaluation, where time matters: elsewhere no clock decides anything."""
        pace = self.state.pace
        return None if pace is None or self.config.time_budget is None else pace.evaluation_s
