import numpy as np
import pytest

from acgraph.data import ArrayDataset, iterate_batches, split, spread_indices
from acgraph.errors import DataError


@pytest.fixture
def ten():
    return ArrayDataset(np.arange(10, dtype=np.float32)[:, None], np.arange(10), name="ten")


def values(dataset):
    return dataset.batch(np.arange(len(dataset))).x.ravel().tolist()


def test_split_is_disjoint_and_seeded(ten):
    first, second = split(ten, 6, 0.4)
    assert sorted(values(first) + values(second)) == list(range(10))
    assert (len(first), len(second)) == (6, 4)
    assert values(first) == first.labels.tolist()
    assert values(split(ten, 6, 4)[0]) == values(first)
    assert values(split(ten, 6, 4, seed=1)[0]) != values(first)


@pytest.mark.parametrize("parts", [(0, 5), (6, 5), (0.01, 0.5), (-1, 3), (0.6, 0.5)])
def test_impossible_splits(ten, parts):
    with pytest.raises(DataError, match="ten: 10 examples cannot be split"):
        split(ten, *parts)


def test_a_part_of_a_part(ten):
    first, _ = split(ten, 6, 4)
    inner, _ = split(first, 3, 3)
    assert set(values(inner)) < set(values(first))


def test_batches_cover_everything_once(ten):
    seen = [batch.x.ravel().tolist() for batch in iterate_batches(ten, 4)]
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_limit_spreads_over_the_whole(ten):
    batch, *_ = iterate_batches(ten, 4, limit=5)
    assert batch.x.ravel().tolist() == batch.labels.tolist() == [0, 2, 4, 6]
    assert spread_indices(3, 7).tolist() == [0, 1, 2]
