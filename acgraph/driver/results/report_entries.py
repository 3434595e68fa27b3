"""Convert the records of a run to the types of the report."""

from collections.abc import Iterable

from acgraph.driver.state.records import RateRecord, RoundRecord, SearchRecord
from acgraph.report import AdmmUpdate, FrontierPoint, Round, SearchPoint


def round_entries(rounds: Iterable[RoundRecord]) -> tuple[Round, ...]:
    """Return the report's entries for the rounds."""
    return tuple(
        Round(
            rate=each.rate,
            accuracy=each.accuracy,
            epochs=each.epochs,
            seconds=each.seconds,
            evaluations=each.evaluations,
            admm=[AdmmUpdate(primal=x.primal, dual=x.dual, rho=x.rho) for x in each.admm],
        )
        for each in rounds
    )


def search_entries(history: Iterable[SearchRecord]) -> tuple[SearchPoint, ...]:
    """Return the report's entries for the points that the searches evaluated."""
    return tuple(SearchPoint(round=x.round, score=x.score, best=x.best) for x in history)


def rate_entries(frontier: Iterable[RateRecord], floor: float) -> tuple[FrontierPoint, ...]:
    """Return the report's entries for the rates that were tried, given the accuracy floor."""
    return tuple(
        FrontierPoint(
            rate=x.rate, accuracy=x.accuracy, epochs=x.epochs, within_floor=x.accuracy >= floor
        )
        for x in frontier
    )
