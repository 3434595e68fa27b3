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


def test_synthetic_pictures_have_edges_and_the_same_every_time():
    inputs = [("x", ["n", 3, 24, 24], np.float32)]
    data = load_dataset("synthetic:200", inputs=inputs)
    assert (len(data), data.labels, data.layout) == (200, None, "NCHW")
    x = data.batch(np.arange(200)).x
    assert x.dtype == np.float32
    assert x.mean() == pytest.approx(0.0, abs=0.15)
    assert x.std() == pytest.approx(1.0, abs=0.15)
    steps = np.abs(np.diff(x, axis=3))
    assert np.median(steps) < 0.2 < np.percentile(steps, 90)  # flat, with sudden steps
    colours = np.corrcoef(x.transpose(1, 0, 2, 3).reshape(3, -1))
    assert colours.min() > 0.7
    held = data.batch(np.array([7, 3])).x
    again = load_dataset("synthetic", inputs=inputs).batch(np.array([7, 3])).x
    assert np.array_equal(again, x[[7, 3]])
    assert np.array_equal(held, x[[7, 3]])
    last = load_dataset("synthetic:2", inputs=[("x", ["n", 24, 24, 3], np.float32)])
    assert last.layout == "NHWC"
    assert np.array_equal(last.batch(np.arange(2)).x, x[:2].transpose(0, 2, 3, 1))


def test_synthetic_signals_are_loudest_at_low_frequencies():
    data = load_dataset("synthetic:50", inputs=[("x", ["n", 256], np.float32)])
    assert not data.is_image
    power = (np.abs(np.fft.rfft(data.batch(np.arange(50)).x)) ** 2).mean(0)
    assert power[1:4].mean() > 100 * power[-32:].mean()
    few = load_dataset("synthetic:300", inputs=[("x", ["n", 4], np.float32)])
    assert few.batch(np.arange(300)).x.std() == pytest.approx(1.0, abs=0.1)


def test_noise_without_a_number_has_enough_to_train_on():
    assert len(load_dataset("noise", inputs=IMAGES)) == 4096


@pytest.mark.parametrize(
    ("spec", "shape", "dtype", "message"),
    [
        ("noise:0", ["n", 3], np.float32, "no examples"),
        (
            "noise",
            ["n", 3, "h", 8],
            np.float32,
            r"takes \[N, 3, h, 8\], but only inputs of known",
        ),
        ("noise", ["n", 3], np.object_, "takes object, but only numbers can be generated"),
    ],
)
def test_what_noise_cannot_be_is_said(spec, shape, dtype, message):
    with pytest.raises(DataError, match=message):
        load_dataset(spec, inputs=[("x", shape, dtype)])


@pytest.mark.parametrize("stated", [{"mean": 0.5}, {"scale": 1.0}, {"size": 8}])
def test_noise_takes_no_preprocessing(stated):
    with pytest.raises(DataError, match=r"^noise: "):
        load_dataset("noise", inputs=IMAGES, **stated)
