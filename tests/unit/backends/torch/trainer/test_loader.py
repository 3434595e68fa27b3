import threading

import numpy as np
import pytest

from acgraph.backends.torch.loader import Loader, is_augmented
from acgraph.backends.torch.trainer import TorchTrainer
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


class _Sized(ArrayDataset):
    """Examples of sizes that repeat: 0, 1, 2, 0 and so on."""

    @property
    def groups(self):
        return np.arange(len(self)) % 3

    def batch(self, indices):
        assert len({int(i) % 3 for i in indices}) == 1
        return super().batch(indices)


@pytest.mark.parametrize(("count", "size", "steps"), [(30, 4, 8), (30, 10, 3), (6, 16, 1)])
def test_a_step_takes_examples_of_several_sizes_one_after_the_other(make, count, size, steps):
    data = _Sized(np.arange(count, dtype=np.float32)[:, None])
    loader = Loader(data, make.plain(batch_size=size), 0)
    assert loader.steps_per_pass == steps
    batches = list(loader.iterate(0, steps))
    seen = [part.indices for batch in batches for part in batch.of_one_size()]
    assert sorted(np.concatenate(seen).tolist()) == list(range(count))
    for batch in batches:
        parts = batch.of_one_size()
        assert sum(part.share for part in parts) == pytest.approx(1)
        assert sum(len(part.indices) for part in parts) <= size
        for part in parts:
            np.testing.assert_array_equal(part.examples.x[:, 0], part.indices)
    if steps == 8:  # two whole batches of each size, and what is left of all
        assert sorted(len(batch.of_one_size()) for batch in batches)[:6] == [1] * 6


def test_gradients_of_several_sizes_are_added_up(make):
    data = make.blobs(18)
    x, y = data.batch(np.arange(18)).x, data.labels
    weights = []
    for kind in (ArrayDataset, _Sized):
        trainer = TorchTrainer(make.linear(), kind(x, y), config=make.plain(batch_size=18))
        trainer.fit(epochs=2)
        weights.append(trainer.weights())
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, rtol=1e-5, atol=1e-6)
