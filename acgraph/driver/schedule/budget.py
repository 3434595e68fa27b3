"""What a time budget allows: fewer examples to judge by, fewer batches to measure on, fewer runs.

Everything beside training is planned within the budget. What cannot be known beforehand is cut
short as it runs over.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from acgraph.data import Dataset, Subset, spread_indices
from acgraph.driver.inputs.data import RunData
from acgraph.lowering.base import Candidate, Chooser

#: Shares of a time budget for judging on the selection split, all the times that is done, and on
#: the report split; and how often the former is.
SELECT_SHARE, REPORT_SHARE = 0.06, 0.05
SELECT_TIMES = 5
#: Share of a time budget for the statistics of BatchNormalization that is put back.
STATISTICS_SHARE = 0.03
#: The fewest examples of a split.
MIN_EXAMPLES = 16


def fewer_examples(data: RunData, image_s: float, budget_s: float) -> RunData:
    """Leave of each split what a time budget allows to be judged on, evenly spaced.

    Args:
        data: All examples.
        image_s: Seconds in which one is judged.
        budget_s: Seconds of the whole run.
    """
    select = int(SELECT_SHARE * budget_s / SELECT_TIMES / image_s)
    report = int(REPORT_SHARE * budget_s / 2 / image_s)  # of two models
    return replace(data, select=_spread(data.select, select), report=_spread(data.report, report))


def _spread(data: Dataset, count: int) -> Dataset:
    count = max(count, MIN_EXAMPLES)
    return data if count >= len(data) else Subset(data, spread_indices(len(data), count))


@dataclass(frozen=True, slots=True)
class DeadlineChooser:
    """Chooses as one chooser does until time is over, and as another from then on.

    Attributes:
        first: Takes its time.
        then: Takes none.
        until_s: When time is over, on the clock of ``time.perf_counter``.
    """

    first: Chooser
    then: Chooser
    until_s: float

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Pick one."""
        is_late = time.perf_counter() >= self.until_s
        return (self.then if is_late else self.first).choose(candidates)
