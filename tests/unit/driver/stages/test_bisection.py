from collections.abc import Callable

import numpy as np
import pytest

from acgraph.driver.latency.target import RESERVE
from acgraph.driver.stages import bisection as settle
from acgraph.driver.stages.bisection import BAND, TargetBisection
from acgraph.search import Point

#: Points are one count of so many units.
SIZE = 1000


def _place(aim: float) -> Point:
    return (max(1, min(SIZE, int(aim * SIZE))),)


class Host:
    """Measures points with an error that differs each time; now and then it is interrupted."""

    def __init__(self, truth: Callable[[float], float], *, noise: float, seed: int) -> None:
        self.truth = truth
        self.noise = noise
        self.rng = np.random.default_rng(seed)
        self.measured: list[Point] = []

    def share(self, point: Point) -> float:
        return self.truth(point[0] / SIZE)

    def __call__(self, point: Point) -> float:
        self.measured.append(point)
        error = self.rng.normal(0.0, self.noise)
        if self.rng.random() < 0.05:
            error += 0.4  # another process ran
        return self.share(point) * float(np.exp(error))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("rate", [1.5, 2.5, 6.0])
@pytest.mark.parametrize("first", [0.5, 1.0, 2.0])
def test_noisy_measurements_end_near_the_target(power: float, rate: float, first: float) -> None:
    """Whichever way the prediction is wrong, the target is met and exceeded by a tenth at most."""
    ended = []
    for seed in range(10):
        host = Host(lambda share: min(1.0, share**power), noise=0.01, seed=seed)
        reserved = 1.0 / ((1.0 + RESERVE) * rate)
        aim = min(0.95, first * reserved ** (1.0 / power))
        bisection = TargetBisection(place=_place, measure=host, most=reserved)
        ended.append(1.0 / host.share(bisection.run(_place(aim), aim)))
        assert len(host.measured) <= settle.MAX_POINTS * settle.REPEATS
    assert np.mean([rate <= found <= 1.1 * rate for found in ended]) >= 0.9


def test_one_interrupted_measurement_moves_nothing() -> None:
    shares = iter([0.8, 0.39, 0.38])
    bisection = TargetBisection(place=_place, measure=lambda point: next(shares), most=0.4)
    assert bisection.run((390,), 0.39) == (390,)


def test_what_overshoots_is_relaxed_between_both_sides() -> None:
    """Nearly nothing is gained until half is gone, and then too much at once."""
    host = Host(lambda share: 0.9 if share > 0.55 else 0.7 * share, noise=0.0, seed=1)
    bisection = TargetBisection(place=_place, measure=host.share, most=0.4)
    point = bisection.run(_place(0.9), 0.9)
    assert host.share(point) <= 0.4
    assert 0.5 < point[0] / SIZE <= 0.55


def test_a_good_start_is_measured_once() -> None:
    host = Host(lambda share: share, noise=0.0, seed=0)
    point = _place(0.39)
    measured: list[Point] = []

    def measure(point: Point) -> float:
        measured.append(point)
        return host.share(point)

    assert TargetBisection(place=_place, measure=measure, most=0.4).run(point, 0.39) == point
    assert measured == [point]
    assert 0.4 / (1 + BAND) < 0.39


def test_out_of_reach_ends_with_the_fastest() -> None:
    host = Host(lambda share: 0.5 + share / 2, noise=0.0, seed=0)
    bisection = TargetBisection(
        place=lambda aim: _place(max(0.1, aim)), measure=host.share, most=0.4, least=0.1
    )
    assert bisection.run(_place(0.4), 0.4) == _place(0.1)
