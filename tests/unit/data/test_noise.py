import numpy as np
import pytest

from acgraph.data import load_dataset
from acgraph.errors import DataError

IMAGES = [("x", ["n", 3, 8, 8], np.float32)]


def test_noise_is_standard_normal_and_the_same_every_time():
    data = load_dataset("noise:300", inputs=IMAGES)
    assert len(data) == 300
    assert data.labels is None
    assert not data.is_image  # neither cropped nor mirrored
    batch = data.batch(np.arange(300))
    x, y = batch.x, batch.labels
    assert y is None
    assert x.shape == (300, 3, 8, 8)
    assert x.dtype == np.float32
    assert x.mean() == pytest.approx(0.0, abs=0.02)
    assert x.std() == pytest.approx(1.0, abs=0.02)
    again = load_dataset("noise:300", inputs=IMAGES).batch(np.array([7, 3])).x
    assert np.array_equal(again, x[[7, 3]])
    assert len({row.tobytes() for row in x}) == 300


def test_noise_without_a_number_has_enough_to_train_on():
    assert len(load_dataset("noise", inputs=IMAGES)) == 4096


@pytest.mark.parametrize(
    ("spec", "shape", "dtype", "message"),
    [
        ("noise:0", ["n", 3], np.float32, "no examples"),
        ("noise", ["n", 3, "h", 8], np.float32, r"takes \[N, 3, h, 8\], and noise needs every"),
        ("noise", ["n", 3], np.object_, "takes object, noise is numbers"),
    ],
)
def test_what_noise_cannot_be_is_said(spec, shape, dtype, message):
    with pytest.raises(DataError, match=message):
        load_dataset(spec, inputs=[("x", shape, dtype)])


@pytest.mark.parametrize("stated", [{"mean": 0.5}, {"scale": 1.0}, {"size": 8}])
def test_noise_takes_no_preprocessing(stated):
    with pytest.raises(DataError, match=r"^noise: "):
        load_dataset("noise", inputs=IMAGES, **stated)
