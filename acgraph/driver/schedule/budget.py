"""Adapt a run to its time budget: fewer evaluation examples, fewer batches, earlier deadlines.

All steps besides training are planned within the budget. Steps whose duration is not known in
advance are stopped when they exceed their share.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from acgraph.config import CompressConfig
from acgraph.data import Dataset, Subset, spread_indices
from acgraph.data.generated import COUNT
from acgraph.driver.inputs.data import RunData
from acgraph.driver.schedule.plan import DEFAULT_EPOCHS
from acgraph.lowering.base import Candidate, Chooser, TimedChooser

#: Shares of a time budget for all evaluations on the selection split, and for those on the report
#: split; and the number of the former.
SELECT_SHARE, REPORT_SHARE = 0.06, 0.05
SELECT_TIMES = 5
#: Share of a time budget for measuring the statistics of inserted BatchNormalization.
STATISTICS_SHARE = 0.03
#: Share of a time budget, or else of the training, for fitting generated inputs to the statistics
#: of the network; and the cost of a training step in evaluations.
INPUTS_SHARE, STEP_COST = 0.25, 3
#: Assumed multiply-accumulates per second. They are not measured, so that a resumed run fits the
#: same inputs.
MACS_PER_S = 2e10
#: Smallest number of examples of a split.
MIN_EXAMPLES = 16


def input_macs(config: CompressConfig, example_macs: int) -> float:
    """Return how many multiply-accumulates a run may spend on fitting its inputs."""
    if config.time_budget is not None:
        return INPUTS_SHARE * config.time_budget * MACS_PER_S
    epochs = DEFAULT_EPOCHS if config.epochs is None else config.epochs
    return INPUTS_SHARE * epochs * COUNT * STEP_COST * example_macs


def fewer_examples(data: RunData, image_s: float, budget_s: float) -> RunData:
    """Reduce the splits for evaluation to what a time budget allows, by evenly spaced examples.

    Args:
        data: All examples.
        image_s: Seconds to evaluate one example.
        budget_s: Time budget of the whole run in seconds.
    """
    select = int(SELECT_SHARE * budget_s / SELECT_TIMES / image_s)
    report = int(REPORT_SHARE * budget_s / 2 / image_s)  # of two models
    return replace(data, select=_spread(data.select, select), report=_spread(data.report, report))


def _spread(data: Dataset, count: int) -> Dataset:
    count = max(count, MIN_EXAMPLES)
    return data if count >= len(data) else Subset(data, spread_indices(len(data), count))


@dataclass(frozen=True, slots=True)
class DeadlineChooser:
    """Uses one chooser until a deadline, and another one from then on.

    Attributes:
        first: The chooser before the deadline, which may be slow.
        then: The chooser after it, which must be fast.
        until_s: The deadline in seconds of ``time.perf_counter``.
    """

    first: Chooser
    then: Chooser
    until_s: float

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Choose a form."""
        is_late = time.perf_counter() >= self.until_s
        return (self.then if is_late else self.first).choose(candidates)

    def known_ms(self, candidates: Sequence[Candidate]) -> list[float | None]:
        """Return the times that the first chooser has measured; None for all others."""
        if isinstance(self.first, TimedChooser):
            return self.first.known_ms(candidates)
        return [None] * len(candidates)
