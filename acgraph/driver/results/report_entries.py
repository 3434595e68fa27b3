"""Convert the records of a run to the types of the report."""

import dataclasses
from collections.abc import Iterable

from acgraph.analysis.dependency import DependencyGraph
from acgraph.analysis.obstacles import shares_by_node
from acgraph.driver.state.records import PassRecord, RateRecord, RoundRecord, SearchRecord
from acgraph.report import AdmmUpdate, Fence, FrontierPoint, Round, SearchPoint, TrainingPass


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
    return tuple(SearchPoint(**dataclasses.asdict(x)) for x in history)


def training_entries(passes: Iterable[PassRecord]) -> tuple[TrainingPass, ...]:
    """Return the report's entries for the passes over the training data."""
    return tuple(TrainingPass(**dataclasses.asdict(x)) for x in passes)


def rate_entries(frontier: Iterable[RateRecord], floor: float) -> tuple[FrontierPoint, ...]:
    """Return the report's entries for the rates that were tried, given the accuracy floor."""
    return tuple(
        FrontierPoint(
            rate=x.rate, accuracy=x.accuracy, epochs=x.epochs, within_floor=x.accuracy >= floor
        )
        for x in frontier
    )


def fence_entries(dependency: DependencyGraph, *, allow_inexact: bool) -> tuple[Fence, ...]:
    """Return the report's entries for the fences, by their share of the weights, largest first."""
    shares = shares_by_node(dependency, allow_inexact=allow_inexact)
    found = []
    for fence in dependency.all_fences():
        node = fence.location.node or fence.location.value
        share = shares.get((node, fence.message), 0.0)
        found.append(Fence(node=node, reason=fence.message, share=share))
    return tuple(sorted(found, key=lambda fence: -fence.share))
