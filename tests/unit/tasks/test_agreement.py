"""Agreement against numbers worked out by hand."""

import numpy as np
import pytest

from acgraph.errors import DataError
from acgraph.tasks import Agreement

RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((5, 4)).astype(np.float32)
MAPS = RNG.standard_normal((20, 3, 4, 4)).astype(np.float32)


def _agreement(ours, theirs, batch=None):
    result = Agreement()
    for start in range(0, len(theirs), batch or len(theirs)):
        part = slice(start, start + (batch or len(theirs)))
        result.add([ours[part]], [theirs[part]])
    return result.value


def test_agreement_of_classes():
    other = SCORES.copy()
    other[0] = -other[0]
    assert _agreement(SCORES, SCORES) == 1
    assert _agreement(other, SCORES) == 0.8


def test_agreement_of_other_outputs():
    assert _agreement(MAPS, MAPS) == 1
    assert _agreement(np.zeros_like(MAPS), MAPS) < 0.1
    noise = RNG.standard_normal(MAPS.shape).astype(np.float32)
    assert _agreement(MAPS + 0.5 * MAPS.std() * noise, MAPS) == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("batch", [1, 3, 20])
def test_the_batch_does_not_matter(batch):
    column, noisy = MAPS[:, 0, 0, :1] + 100, MAPS[:, 0, 0, :1] * 0.7 + 100
    assert _agreement(noisy, column, batch) == pytest.approx(_agreement(noisy, column), rel=1e-6)
    assert 0.5 < _agreement(noisy, column) < 1


def test_a_constant_reference_forgives_rounding_and_nothing_else():
    flat = np.full((6, 1), 100.0, np.float32)
    assert _agreement(flat, flat) == 1
    assert _agreement(np.nextafter(flat, 200), flat) > 0.9
    assert _agreement(flat + 0.1, flat) == 0


def test_nan_agrees_with_nothing():
    broken = SCORES.copy()
    broken[0] = np.nan
    assert _agreement(broken, SCORES) == 0.8
    assert _agreement(broken, broken) == 0.8
    assert _agreement(broken[:, :1], SCORES[:, :1]) == 0
    assert _agreement(np.full_like(MAPS, np.inf), MAPS) == 0
    masked = np.where(MAPS < 0, -np.inf, MAPS)
    assert _agreement(masked, masked) == 1
    assert _agreement(MAPS, masked) == 0


def test_integer_outputs_are_compared_as_they_are():
    assert _agreement(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0])) == 0.75


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match="cannot be compared"):
        Agreement().add([SCORES], [SCORES[:, :3]])
    with pytest.raises(DataError, match="no examples to compare on"):
        _ = Agreement().value
