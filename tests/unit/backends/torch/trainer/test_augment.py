import numpy as np
import pytest

from acgraph.backends.torch.augment import augment, erase, flip, shift, with_flip
from acgraph.backends.training import TrainConfig
from acgraph.tasks import OutputTask


@pytest.fixture
def images():
    return np.random.default_rng(0).standard_normal((40, 3, 6, 5)).astype(np.float32)


def rng():
    return np.random.default_rng(1)


@pytest.mark.parametrize(("fill", "mode"), [("zero", "constant"), ("reflect", "reflect")])
def test_every_shift_is_a_window_of_the_padded_image(images, fill, mode):
    shifted = shift(images, 2, fill, rng())
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), mode=mode)
    places = set()
    for before, after in zip(padded, shifted, strict=True):
        found = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if (before[:, top : top + 6, left : left + 5] == after).all()
        ]
        assert len(found) == 1
        places.add(found[0])
    assert {top for top, _ in places} == {left for _, left in places} == set(range(5))


def test_flip_mirrors_about_half(images):
    flipped = flip(images, rng())
    is_same = (flipped == images).all(axis=(1, 2, 3))
    is_mirrored = (flipped == images[..., ::-1]).all(axis=(1, 2, 3))
    assert (is_same ^ is_mirrored).all()
    assert 10 <= is_mirrored.sum() <= 30


def test_erase_zeroes_one_square(images):
    hole = erase(images, 1.0, rng()) == 0
    assert (hole == hole[:, :1]).all()
    sides = set()
    for mask in hole[:, 0]:
        rows, columns = mask.any(axis=1).sum(), mask.any(axis=0).sum()
        assert mask.sum() == rows * columns
        assert rows == columns
        sides.add(int(rows))
    assert sides == {1, 2}


def test_erase_takes_a_share(images):
    touched = (erase(images, 0.5, rng()) != images).any(axis=(1, 2, 3))
    assert 10 <= touched.sum() <= 30


@pytest.mark.parametrize(
    "on", [{"crop": 2}, {"flip": True}, {"erase": 1.0}, {"crop": 2, "crop_fill": "reflect"}]
)
def test_each_option_does_something(images, on):
    off = {"crop": 0, "flip": False, "erase": 0.0}
    same = augment(images, TrainConfig(**off), rng())
    np.testing.assert_array_equal(same, images)
    changed = augment(images, TrainConfig(**{**off, **on}), rng())
    assert (changed != images).any()
    assert changed.shape == images.shape
    assert changed.dtype == np.float32


def test_the_original_is_left_alone(images):
    before = images.copy()
    augment(images, TrainConfig(erase=1.0), rng())
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    ("given", "kind", "found"),
    [
        ("auto", "classification", True),
        ("auto", "ctc", False),
        (True, "ctc", True),
        (False, "classification", False),
    ],
)
def test_images_of_text_are_not_mirrored_unless_asked(given, kind, found):
    config = with_flip(TrainConfig(flip=given), [OutputTask(output="y", kind=kind)])
    assert config.flip is found
