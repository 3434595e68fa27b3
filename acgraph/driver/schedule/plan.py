"""Split the budget of epochs or minutes over the stages of a run."""

import math
from dataclasses import dataclass

from acgraph.config import Criterion
from acgraph.diagnostics import counted
from acgraph.pruning.rate import Rate, format_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetShares:
    """Default split of the budget; docs/method.md has the measurements behind it.

    Attributes:
        round_rate: Largest rate of one round.
        admm: Share of the training for ADMM, over all rounds.
        retrain: Share for masked retraining, over all rounds. The rest is the final fine-tuning,
            which gains most, as only it anneals the learning rate to zero on the final structure.
        retrain_once: Share for masked retraining if there is only one round.
        attempts: Without a target rate: the share for all attempts, including ADMM.
    """

    round_rate: float
    admm: float
    retrain: float
    retrain_once: float
    attempts: float = 0.5


DEFAULT_SHARES: dict[Criterion, BudgetShares] = {
    # A reconstructed cut loses so little accuracy that a single round needs no masked retraining.
    "reconstruction": BudgetShares(round_rate=8.0, admm=0.0, retrain=0.15, retrain_once=0.0),
    "magnitude": BudgetShares(round_rate=2.0, admm=0.1, retrain=0.15, retrain_once=0.15),
}
#: Smallest share of a time budget for training, whatever the other stages would need.
TRAIN_SHARE = 0.5
#: Largest shares of a time budget for the searches of all rounds, and for purification; and the
#: searches' part of the time that training and export leave.
SEARCH_SHARE, PURIFY_SHARE = 0.15, 0.06
SEARCH_PART = 0.7
#: Smallest and largest share of a time budget reserved for the export; in between, its estimated
#: duration times a safety margin is reserved.
MIN_EXPORT, MAX_EXPORT = 0.06, 0.25
EXPORT_MARGIN = 1.3
DEFAULT_EPOCHS = 8.0
#: Largest number of seconds for the searches of all rounds if there is no time budget, decisions
#: may depend on time, and the user does not set the number of evaluations. Within this limit they
#: may take a multiple of the training time, see ``acgraph.driver.schedule.pace``.
MIN_SEARCH_S, MAX_SEARCH_S = 60.0, 840.0
#: Number of points that the search of purification evaluates.
PURIFY_EVALUATIONS = 16
#: Default number of attempts that train if there is no target rate.
ATTEMPTS = 6
#: Epochs of a fine-tuning that ends by time: more than it will run.
UNBOUNDED_EPOCHS = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Speed of the dense network on this host.

    Attributes:
        pass_s: Seconds of training on all images once.
        evaluation_s: Seconds in which a search evaluates one point.
        image_s: Seconds to evaluate one image.
        preparing_s: Seconds to prepare a search: measure the inputs of layers and rank units.
    """

    pass_s: float
    evaluation_s: float
    image_s: float = 0.0
    preparing_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSchedule:
    """The schedule of a run.

    Attributes:
        rates: Rate to reach by the end of each round.
        admm: Epochs of all ADMM updates of one round.
        retrain: Epochs of the masked retraining of one round.
        finish: Epochs of the final fine-tuning; with a time budget, the largest number of them.
            Epochs that attempts leave unused are added, see ``finish_after``.
        search_s: Time limit of one search in seconds; None without a limit.
        purify_s: Time limit of the search of purification in seconds, or None.
        finish_by_s: Seconds after the start of the run at which fine-tuning must end, or None.
        attempts: Without a target rate (``rates`` is empty): the largest number of attempts that
            train; ``admm`` and ``retrain`` then apply to one attempt.
        attempt_by_s: Seconds after the start of the run from which on no attempt begins, or None.
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
        """Largest number of epochs of all attempts together."""
        return self.attempts * self.round_epochs

    @property
    def total_epochs(self) -> float:
        """Epochs of the whole run, at most."""
        return len(self.rates) * self.round_epochs + self.attempt_epochs + self.finish

    def finish_after(self, spent: float) -> float:
        """Epochs of the fine-tuning after attempts that used ``spent`` epochs."""
        return self.finish + max(0.0, self.attempt_epochs - spent) if self.attempts else self.finish

    def describe(self) -> str:
        """Return the schedule as one line of text."""
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
            most = f"{self.attempts} training attempts"
            return f"up to {most} to find the highest rate within --max-drop"
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
        rounds: Number of rounds, or of attempts; None makes as many as the criterion needs.
        epochs: Passes over the data, summed over all stages; 8 if there is no budget.
        time_budget_s: Time budget in seconds; the rounds then get the epochs that fit, and
            fine-tuning the remaining time.
        seconds_per_pass: Seconds in which the dense network trains on all images once; required
            with a time budget.
        elapsed_s: Seconds of the time budget that are already spent.
        export_s: Estimated seconds of the export.
        criterion: How units are ranked; it determines the defaults of the other arguments.
        admm_share: Share of the training that is ADMM, over all rounds.
        retrain_share: Share of the training that is masked retraining, over all rounds. The rest
            is fine-tuning.
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
