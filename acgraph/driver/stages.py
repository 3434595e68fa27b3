"""How the budget of epochs or minutes is spent."""

import math
from dataclasses import dataclass

from acgraph.config import Criterion
from acgraph.pruning.rate import Rate, format_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a budget is spent where the user does not say; docs/method.md has the measurements.

    Attributes:
        round_rate: The rate of one round, at most.
        admm: Share of the training for ADMM, over all rounds.
        retrain: Share for masked retraining, over all rounds; the rest is the final fine-tuning,
            which pays most: it alone anneals the learning rate to zero on the final structure.
        retrain_once: The same where there is one round only.
    """

    round_rate: float
    admm: float
    retrain: float
    retrain_once: float


HABITS: dict[Criterion, Habits] = {
    # A mended cut keeps so much that a single round can go straight to fine-tuning.
    "reconstruction": Habits(round_rate=8.0, admm=0.0, retrain=0.15, retrain_once=0.0),
    "magnitude": Habits(round_rate=2.0, admm=0.1, retrain=0.15, retrain_once=0.15),
}
#: Shares of a time budget for the searches of all rounds, and for purification and export.
SEARCH_SHARE = 0.15
EXPORT_SHARE = 0.12
DEFAULT_EPOCHS = 8.0
#: Epochs of a fine-tuning that the clock ends: more than it will run.
MANY_EPOCHS = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the dense network is on this host.

    Attributes:
        pass_s: Seconds of training on all images once.
        evaluation_s: Seconds in which a search judges one point.
    """

    pass_s: float
    evaluation_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The plan of a run.

    Attributes:
        rates: Rate to reach by the end of each round.
        admm: Epochs of all ADMM updates of one round.
        retrain: Epochs of the masked retraining of one round.
        finish: Epochs of the fine-tuning at the end; with a time budget the most that it may use.
        search_s: Seconds that one search may take; None where time is no matter.
        purify_s: Seconds that the search of purification may take, or None.
        finish_by_s: Seconds after the start of the run at which fine-tuning must end, or None.
    """

    rates: tuple[float, ...]
    admm: float
    retrain: float
    finish: float
    search_s: float | None = None
    purify_s: float | None = None
    finish_by_s: float | None = None

    def describe(self) -> str:
        """Say in one line what will be done."""
        rounds = ", ".join(format_rate(rate) for rate in self.rates)
        count = len(self.rates)
        finish = f"{self.finish:.3g} epochs"
        if self.finish_by_s is not None:
            finish = f"until {self.finish_by_s:.0f} s"
        parts = [
            f"{what} {epochs:.3g} epochs"
            for what, epochs in (("ADMM", self.admm), ("retraining", self.retrain))
            if epochs > 0
        ]
        each = f", each {' and '.join(parts)}" if parts else ""
        return f"{count} round{'s' if count > 1 else ''} ({rounds}){each}; fine-tuning {finish}"


def plan_stages(
    target: Rate,
    *,
    rounds: int | None = None,
    epochs: float | None = None,
    time_budget_s: float | None = None,
    seconds_per_pass: float | None = None,
    criterion: Criterion = "reconstruction",
    admm_share: float | None = None,
    retrain_share: float | None = None,
) -> Stages:
    """Split a budget over rounds and a final fine-tuning.

    Args:
        target: The rate to reach.
        rounds: How many rounds; None makes as many as the criterion needs.
        epochs: Passes over the data in all; 8 where neither budget is given.
        time_budget_s: Seconds in all; the rounds then get the epochs that fit, and fine-tuning
            the time that is left.
        seconds_per_pass: How long the dense network trains on all images once; needed with a time
            budget.
        criterion: What decides what stays: it sets what is not stated here.
        admm_share: Share of the training that is ADMM, over all rounds.
        retrain_share: Share of the training that is masked retraining, over all rounds. What both
            leave is fine-tuning.
    """
    rate = target.value
    habits = HABITS[criterion]
    count = rounds or max(1, math.ceil(math.log(rate, habits.round_rate) - 1e-9))
    if admm_share is None:
        admm_share = min(habits.admm, 1 - (retrain_share or 0.0))
    if retrain_share is None:
        usual = habits.retrain if count > 1 else habits.retrain_once
        retrain_share = min(usual, 1 - admm_share)
    rates = tuple(rate ** ((k + 1) / count) for k in range(count))
    if time_budget_s is None or seconds_per_pass is None:
        total = DEFAULT_EPOCHS if epochs is None else epochs
        return Stages(
            rates=rates,
            admm=admm_share * total / count,
            retrain=retrain_share * total / count,
            finish=(1 - admm_share - retrain_share) * total,
        )
    total = (1 - SEARCH_SHARE - EXPORT_SHARE) * time_budget_s / seconds_per_pass
    return Stages(
        rates=rates,
        admm=admm_share * total / count,
        retrain=retrain_share * total / count,
        finish=MANY_EPOCHS,
        search_s=SEARCH_SHARE * time_budget_s / count,
        purify_s=EXPORT_SHARE / 2 * time_budget_s,
        finish_by_s=(1 - EXPORT_SHARE / 2) * time_budget_s,
    )
