"""How the budget of epochs or minutes is spent."""

import math
from dataclasses import dataclass

from acgraph.pruning.rate import Rate

#: Shares of the budget for ADMM, for masked retraining (both over all rounds), and for the final
#: fine-tuning, which pays most: it alone anneals the learning rate to zero on the final structure.
ADMM_SHARE = 0.15
RETRAIN_SHARE = 0.15
FINISH_SHARE = 0.7
#: Share of a time budget that searches, evaluations and the export may take.
OVERHEAD_SHARE = 0.25
DEFAULT_EPOCHS = 8.0
#: A round removes about this much: the rate of one round.
ROUND_RATE = 2.0


@dataclass(frozen=True, slots=True)
class Spend:
    """What one fit may use: epochs, or seconds where time is the budget."""

    epochs: float
    seconds: float | None = None

    def part(self, count: int) -> "Spend":
        """One of ``count`` equal parts."""
        seconds = None if self.seconds is None else self.seconds / count
        return Spend(self.epochs / count, seconds)


@dataclass(frozen=True, slots=True)
class Stages:
    """The plan of a run.

    Attributes:
        rates: Rate to reach by the end of each round.
        admm: For all ADMM updates of one round.
        retrain: For the masked retraining of one round.
        finish: For the fine-tuning at the end.
    """

    rates: tuple[float, ...]
    admm: Spend
    retrain: Spend
    finish: Spend

    def describe(self) -> str:
        """Say in one line what will be done."""
        rounds = ", ".join(f"{rate:.3g}x" for rate in self.rates)
        return (
            f"{len(self.rates)} rounds ({rounds}), each ADMM {_amount(self.admm)} and retraining "
            f"{_amount(self.retrain)}; fine-tuning {_amount(self.finish)}"
        )


def _amount(spend: Spend) -> str:
    if spend.seconds is not None:
        return f"{spend.seconds:.0f} s"
    return f"{spend.epochs:.3g} epochs"


def plan_stages(
    target: Rate, rounds: int | None, epochs: float | None, time_budget_s: float | None
) -> Stages:
    """Split a budget over rounds of about 2x each and a final fine-tuning.

    Args:
        target: The rate to reach.
        rounds: How many rounds; None makes them of about 2x.
        epochs: Passes over the data in all; 8 where neither budget is given.
        time_budget_s: Seconds in all.
    """
    rate = target.value
    count = rounds or max(1, math.ceil(math.log(rate, ROUND_RATE) - 1e-9))
    rates = tuple(rate ** ((k + 1) / count) for k in range(count))
    if time_budget_s is not None:
        train = (1 - OVERHEAD_SHARE) * time_budget_s
        # So many epochs that the clock stops the fit, not the count.
        total = Spend(1000.0, train)
        parts = [
            Spend(total.epochs, share * train)
            for share in (ADMM_SHARE, RETRAIN_SHARE, FINISH_SHARE)
        ]
    else:
        given = DEFAULT_EPOCHS if epochs is None else epochs
        parts = [Spend(share * given) for share in (ADMM_SHARE, RETRAIN_SHARE, FINISH_SHARE)]
    admm, retrain, finish = parts
    if time_budget_s is not None:
        return Stages(
            rates,
            Spend(admm.epochs, (admm.seconds or 0) / count),
            Spend(retrain.epochs, (retrain.seconds or 0) / count),
            finish,
        )
    return Stages(rates, admm.part(count), retrain.part(count), finish)
