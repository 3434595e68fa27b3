"""The rates that are tried: up by steps, then by bisection, and no more than tells them apart."""

import pytest

from acgraph.search.frontier import NARROW, next_rate


def tried_for(limit: float, reach: float = 1e9) -> list[tuple[float, bool]]:
    """Every rate that is tried where those up to a limit hold."""
    tried: list[tuple[float, bool]] = []
    while (rate := next_rate(tried)) is not None and len(tried) < 50 and rate < reach:
        tried.append((rate, rate <= limit))
    return tried


@pytest.mark.parametrize("limit", [1.3, 2.0, 3.3, 7.9, 8.1, 50.0])
def test_the_highest_that_holds_is_found_closely(limit: float) -> None:
    tried = tried_for(limit)
    best = max(rate for rate, held in tried if held)
    assert best <= limit < NARROW * best
    assert len(tried) <= 10


def test_it_climbs_by_twos_while_all_hold() -> None:
    assert [rate for rate, _ in tried_for(1e9, reach=40.0)] == [2.0, 4.0, 8.0, 16.0, 32.0]


def test_where_none_holds_each_is_gentler_than_the_last() -> None:
    rates = [rate for rate, _ in tried_for(1.0)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 2.0
    assert 1.0 < rates[-1] < 1.2


def test_a_failure_below_what_held_is_noise() -> None:
    assert next_rate([(2.0, False), (3.0, True)]) == 6.0
