"""How the budget of epochs or minutes is spent."""

import math
from dataclasses import dataclass

from acgraph.config import Criterion
from acgraph.diagnostics import counted
from acgraph.pruning.rate import Rate, format_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetShares:
    """How a budget is spent where the user does not say; docs/method.md has the measurements.

    Attributes:
        round_rate: The rate of one round, at most.
        admm: Share of the training for ADMM, over all rounds.
        retrain: Share for masked retraining, over all rounds; the rest is the final fine-tuning,
            which pays most: it alone anneals the learning rate to zero on the final structure.
        retrain_once: The same where there is one round only.
        attempts: Share for all attempts at rates where none is stated, ADMM included.
    """

    round_rate: float
    admm: float
    retrain: float
    retrain_once: float
    attempts: float = 0.5


DEFAULT_SHARES: dict[Criterion, BudgetShares] = {
    # A reconstructed cut keeps so much that a single round can go straight to fine-tuning.
    "reconstruction": BudgetShares(round_rate=8.0, admm=0.0, retrain=0.15, retrain_once=0.0),
    "magnitude": BudgetShares(round_rate=2.0, admm=0.1, retrain=0.15, retrain_once=0.15),
}
#: The least share of a time budget that is training, whatever the stages around it would like.
TRAIN_SHARE = 0.5
#: The most of a time budget for the searches of all rounds, and for purification; of what is left
#: beside training and export, searches get the part below.
SEARCH_SHARE, PURIFY_SHARE = 0.15, 0.06
SEARCH_PART = 0.7
#: Shares of a time budget that are kept for the export, at least and at most; between them it gets
#: what it is expected to take, times what such an expectation is wrong by.
MIN_EXPORT, MAX_EXPORT = 0.06, 0.25
EXPORT_MARGIN = 1.3
DEFAULT_EPOCHS = 8.0
#: The most seconds of the searches of all rounds where there is no time budget, but things may
#: depend on time and the user does not say how many points to try.
MAX_SEARCH_S = 840.0
#: Points that the search of purification judges.
PURIFY_EVALUATIONS = 16
#: Attempts that train, where no rate is stated and the user does not say how many.
ATTEMPTS = 6
#: Epochs of a fine-tuning that the clock ends: more than it will run.
UNBOUNDED_EPOCHS = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the dense network is on this host.

    Attributes:
        pass_s: Seconds of training on all images once.
        evaluation_s: Seconds in which a search judges one point.
        image_s: Seconds in which one image is judged.
        preparing_s: Seconds before a search judges: what layers read is measured, units are ranked.
    """

    pass_s: float
    evaluation_s: float
    image_s: float = 0.0
    preparing_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSchedule:
    """The plan of a run.

    Attributes:
        rates: Rate to reach by the end of each round.
        admm: Epochs of all ADMM updates of one round.
        retrain: Epochs of the masked retraining of one round.
        finish: Epochs of the fine-tuning at the end; with a time budget the most that it may use.
            What attempts leave of theirs is added, see ``finish_after``.
        search_s: Seconds that one search may take; None where time is no matter.
        purify_s: Seconds that the search of purification may take, or None.
        finish_by_s: Seconds after the start of the run at which fine-tuning must end, or None.
        attempts: The most attempts that train, where no rate is stated and ``rates`` is empty;
            ``admm`` and ``retrain`` are then of one of them.
        attempt_by_s: Seconds after the start of the run at which none begins any more, or None.
    """

    rates: tuple[float, ...]
    admm: float
    retrain: float
    finish: float
    search_s: float | None = None
    purify_s: float | None = None
    finish_by_s: float | None = None
    attempts: int = 0
    attempt_by_s: float | None = None

    @property
    def round_epochs(self) -> float:
        """Epochs of one round, or of one attempt."""
        return self.admm + self.retrain

    @property
    def attempt_epochs(self) -> float:
        """Epochs of all attempts together, at most."""
        return self.attempts * self.round_epochs

    def finish_after(self, spent: float) -> float:
        """Epochs of the fine-tuning, where attempts spent so many."""
        return self.finish + max(0.0, self.attempt_epochs - spent) if self.attempts else self.finish

    def describe(self) -> str:
        """Say in one line what will be done."""
        finish = counted(self.finish, "epoch", ".3g")
        if self.finish_by_s is not None:
            finish = f"until {self.finish_by_s:.0f} s"
        parts = [
            f"{what} {counted(epochs, 'epoch', '.3g')}"
            for what, epochs in (("ADMM", self.admm), ("retraining", self.retrain))
            if epochs > 0
        ]
        each = f", each {' and '.join(parts)}" if parts else ""
        return f"{self._rounds_text()}{each}; fine-tuning {finish}"

    def _rounds_text(self) -> str:
        if self.attempts:
            most = f"{self.attempts} attempts that train"
            return f"the highest rate that holds the floor, by up to {most}"
        rounds = ", ".join(format_rate(rate) for rate in self.rates)
        return f"{len(self.rates)} round{'s' if len(self.rates) > 1 else ''} ({rounds})"


def plan_schedule(
    target: Rate | None,
    *,
    rounds: int | None = None,
    epochs: float | None = None,
    time_budget_s: float | None = None,
    seconds_per_pass: float | None = None,
    elapsed_s: float = 0.0,
    export_s: float = 0.0,
    criterion: Criterion = "reconstruction",
    admm_share: float | None = None,
    retrain_share: float | None = None,
) -> RunSchedule:
    """Split a budget over rounds and a final fine-tuning.

    Args:
        target: The rate to reach; None plans attempts at rates that are not known yet.
        rounds: How many rounds, or attempts; None makes as many as the criterion needs.
        epochs: Passes over the data in all; 8 where neither budget is given.
        time_budget_s: Seconds in all; the rounds then get the epochs that fit, and fine-tuning
            the time that is left.
        seconds_per_pass: How long the dense network trains on all images once; needed with a time
            budget.
        elapsed_s: Seconds of the time budget that are gone already.
        export_s: Seconds that the export is expected to take.
        criterion: What decides what stays: it sets what is not stated here.
        admm_share: Share of the training that is ADMM, over all rounds.
        retrain_share: Share of the training that is masked retraining, over all rounds. What both
            leave is fine-tuning.
    """
    shares = DEFAULT_SHARES[criterion]
    rates: tuple[float, ...] = ()
    if target is None:
        count = rounds or ATTEMPTS
    else:
        count = rounds or max(1, math.ceil(math.log(target.value, shares.round_rate) - 1e-9))
        rates = tuple(target.value ** ((k + 1) / count) for k in range(count))
    attempts = 0 if rates else count
    if admm_share is None:
        admm_share = min(shares.admm, 1 - (retrain_share or 0.0))
    if retrain_share is None:
        usual = shares.retrain if count > 1 else shares.retrain_once
        if attempts:
            usual = max(0.0, shares.attempts - admm_share)
        retrain_share = min(usual, 1 - admm_share)
    if time_budget_s is None or seconds_per_pass is None:
        total = DEFAULT_EPOCHS if epochs is None else epochs
        return RunSchedule(
            rates=rates,
            admm=admm_share * total / count,
            retrain=retrain_share * total / count,
            finish=(1 - admm_share - retrain_share) * total,
            attempts=attempts,
        )
    kept = min(
        max(EXPORT_MARGIN * export_s, MIN_EXPORT * time_budget_s), MAX_EXPORT * time_budget_s
    )
    finish_by_s = time_budget_s - kept
    left = max(finish_by_s - elapsed_s, 0.0)
    free = max(left - TRAIN_SHARE * time_budget_s, 0.0)
    search_s = min(SEARCH_SHARE * time_budget_s, SEARCH_PART * free)
    purify_s = min(PURIFY_SHARE * time_budget_s, free - search_s)
    train_s = left - search_s - purify_s
    total = train_s / seconds_per_pass
    share = admm_share + retrain_share
    return RunSchedule(
        rates=rates,
        admm=admm_share * total / count,
        retrain=retrain_share * total / count,
        finish=UNBOUNDED_EPOCHS,
        search_s=search_s / count,
        purify_s=purify_s,
        finish_by_s=finish_by_s,
        attempts=attempts,
        attempt_by_s=elapsed_s + share * train_s + search_s if attempts else None,
    )
