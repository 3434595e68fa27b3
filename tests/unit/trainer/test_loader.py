import threading

import numpy as np
import pytest

from acgraph.backends.torch.loader import Loader, is_augmented
from acgraph.backends.training import TrainConfig
from acgraph.data import ArrayDataset


@pytest.mark.parametrize(("count", "batch"), [(10, 4), (9, 4), (129, 128), (5, 8), (8, 4)])
def test_a_pass_visits_every_image_once_in_even_batches(make, count, batch):
    loader = Loader(make.blobs(count), make.plain(batch_size=batch), 0)
    assert loader.steps_per_pass == int(np.ceil(count / batch))
    for number in range(2):
        steps = range(number * loader.steps_per_pass, (number + 1) * loader.steps_per_pass)
        parts = [loader.indices(step) for step in steps]
        assert sorted(np.concatenate(parts).tolist()) == list(range(count))
        sizes = {len(part) for part in parts}
        assert max(sizes) <= batch
        assert max(sizes) - min(sizes) <= 1


def test_order_depends_on_seed_fit_and_pass_alone(make):
    def order(seed=0, fit=0, step=0):
        return Loader(make.blobs(64), make.plain(seed=seed), fit).indices(step).tolist()

    assert order() == order()
    assert len({tuple(o) for o in (order(), order(seed=1), order(fit=1), order(step=4))}) == 4


def test_a_step_reads_the_same_wherever_one_starts(make):
    config = TrainConfig(batch_size=16, erase=0.5)
    all_steps = list(Loader(make.patterns(60), config, 0).iterate(0, 8))
    later = list(Loader(make.patterns(60), config, 0).iterate(5, 8))
    assert len(later) == 3
    for a, b in zip(all_steps[5:], later, strict=True):
        np.testing.assert_array_equal(a.examples.x, b.examples.x)
        np.testing.assert_array_equal(a.examples.labels, b.examples.labels)


def test_labels_belong_to_their_images(make):
    data = make.blobs(30)
    for batch in Loader(data, make.plain(batch_size=7), 0).iterate(0, 5):
        expected = data.batch(batch.indices)
        np.testing.assert_array_equal(batch.examples.x, expected.x)
        np.testing.assert_array_equal(batch.examples.labels, expected.labels)


def test_only_images_are_augmented(make):
    on = TrainConfig()
    assert is_augmented(make.patterns(), on)
    assert not is_augmented(make.blobs(), on)
    assert not is_augmented(make.patterns(layout=""), on)
    assert not is_augmented(make.patterns(), TrainConfig(augment=False))
    assert not is_augmented(make.patterns(), TrainConfig(crop=0, flip=False))
    data = make.patterns(layout="")
    batch = Loader(data, on, 0).read(0)
    np.testing.assert_array_equal(batch.examples.x, data.batch(batch.indices).x)


def test_layout_of_the_network_is_kept(make):
    config = TrainConfig(batch_size=60)
    first = Loader(make.patterns(), config, 0).read(0).examples.x
    batch = make.patterns().batch(np.arange(60))
    x, y = batch.x, batch.labels
    last = ArrayDataset(x.transpose(0, 2, 3, 1), y, layout="NHWC")
    moved = Loader(last, config, 0).read(0).examples.x
    assert moved.shape == (60, 8, 8, 3)
    np.testing.assert_array_equal(moved.transpose(0, 3, 1, 2), first)


class _Broken(ArrayDataset):
    def batch(self, indices):
        raise OSError("disk gone")


def test_a_failing_read_is_not_lost(make):
    data = _Broken(np.zeros((8, 4), np.float32))
    with pytest.raises(OSError, match="disk gone"):
        list(Loader(data, make.plain(), 0).iterate(0, 1))


def test_no_thread_outlives_a_loop_that_stops(make):
    batches = Loader(make.blobs(64), make.plain(), 0).iterate(0, 4)
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("acgraph-loader")]
