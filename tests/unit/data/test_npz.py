import numpy as np
import pytest

from acgraph.data import load_dataset
from acgraph.errors import DataError

RNG = np.random.default_rng(1)
FLOATS = RNG.standard_normal((6, 3, 8, 8)).astype(np.float32)
IMAGES = RNG.integers(0, 256, (6, 8, 8, 3), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.uint8)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def everything(dataset):
    batch = dataset.batch(np.arange(len(dataset)))
    return batch.x, batch.labels


def test_floats_are_taken_as_they_are(npz, image_input):
    data = load_dataset(npz(x=FLOATS, y=LABELS), inputs=image_input)
    x, y = everything(data)
    np.testing.assert_array_equal(x, FLOATS)
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    np.testing.assert_array_equal(y, LABELS)
    np.testing.assert_array_equal(data.labels, LABELS)
    assert data.is_image


def test_a_batch_is_a_copy(npz, image_input):
    data = load_dataset(npz(x=FLOATS), inputs=image_input)
    data.batch(np.arange(2)).x[:] = 0
    np.testing.assert_array_equal(everything(data)[0], FLOATS)


def test_labels_are_optional(npz, image_input):
    data = load_dataset(npz(x=FLOATS), inputs=image_input)
    assert data.labels is None
    assert everything(data)[1] is None


def test_images_are_normalised(npz, image_input):
    data = load_dataset(npz(x=IMAGES), inputs=image_input, mean=MEAN, std=STD)
    expected = ((IMAGES / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(everything(data)[0], expected, rtol=1e-5, atol=1e-6)


def test_mean_and_std_may_lie_in_the_file(npz, image_input):
    path = npz(x=IMAGES, mean=np.array(MEAN), std=np.array(STD))
    inside = everything(load_dataset(path, inputs=image_input))[0]
    stated = everything(load_dataset(path, inputs=image_input, mean=0.0, std=1.0))[0]
    np.testing.assert_allclose(inside[:, 0], (stated[:, 0] - 0.4) / 0.2, rtol=1e-4, atol=1e-5)


def test_scale_one_gives_pixels(npz, image_input):
    data = load_dataset(npz(x=IMAGES), inputs=image_input, scale=1.0)
    np.testing.assert_array_equal(everything(data)[0], IMAGES.transpose(0, 3, 1, 2))


def test_layout_of_the_network(npz):
    path = npz(x=IMAGES)
    found = load_dataset(path, inputs=[("i", (None, 8, 8, 3), np.float32)], scale=1.0)
    np.testing.assert_array_equal(everything(found)[0], IMAGES)
    assert found.layout == "NHWC"
    square = RNG.integers(0, 256, (2, 3, 3, 3), np.uint8)
    spec, inputs = npz(x=square), [("i", (1, 3, 3, 3), np.float32)]
    stated = load_dataset(spec, inputs=inputs, scale=1.0, layout="NHWC")
    np.testing.assert_array_equal(everything(stated)[0], square)
    default = load_dataset(spec, inputs=inputs, scale=1.0)
    np.testing.assert_array_equal(everything(default)[0], square.transpose(0, 3, 1, 2))


def test_grey_images_need_no_channel_axis(npz):
    grey = IMAGES[..., 0]
    data = load_dataset(npz(x=grey), inputs=[("i", (1, 1, 8, 8), np.float32)], scale=1.0)
    np.testing.assert_array_equal(everything(data)[0], grey[:, None])


def test_integers_for_a_network_that_takes_integers(npz):
    tokens = RNG.integers(0, 100, (4, 7))
    data = load_dataset(npz(x=tokens), inputs=[("ids", ("n", "length"), np.int32)])
    x, _ = everything(data)
    assert x.dtype == np.int32
    np.testing.assert_array_equal(x, tokens)
    assert not data.is_image


def test_spectrograms_are_no_images(npz):
    x = RNG.standard_normal((2, 1, 49, 10)).astype(np.float32)
    assert not load_dataset(npz(x=x), inputs=[("i", (1, 1, 49, 10), np.float32)]).is_image


def test_named_arrays_and_slices(npz, image_input):
    path = npz(x_test=FLOATS, y_test=LABELS)
    whole = load_dataset(f"{path}#x_test,y_test", inputs=image_input)
    assert len(whole) == 6
    tail = load_dataset(f"{path}#x_test[4:],y_test[4:]", inputs=image_input)
    np.testing.assert_array_equal(everything(tail)[0], FLOATS[4:])
    np.testing.assert_array_equal(tail.labels, LABELS[4:])
    strided = load_dataset(f"{path}#x_test[:-1:2]", inputs=image_input)
    np.testing.assert_array_equal(everything(strided)[0], FLOATS[:-1:2])


def test_column_of_labels(npz, image_input):
    data = load_dataset(npz(x=FLOATS, y=LABELS[:, None]), inputs=image_input)
    np.testing.assert_array_equal(data.labels, LABELS)


def bad(values):
    broken = FLOATS.copy()
    broken[4, 0, 0, 0] = values
    return broken


@pytest.mark.parametrize("labels", [LABELS / 2, np.eye(3, dtype=np.int64)[LABELS]])
def test_labels_of_other_tasks_are_kept_as_they_are(npz, image_input, labels):
    data = load_dataset(npz(x=FLOATS, y=labels), inputs=image_input)
    assert data.labels.dtype in (np.float32, np.int64)
    assert np.array_equal(data.labels, labels)
    assert np.array_equal(data.batch(np.array([2, 0])).labels, labels[[2, 0]])


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"x": FLOATS[:, :, :4]}, {}, r"\[N, 3, 4, 8\].*takes \[N, 3, 8, 8\]"),
        ({"x": FLOATS[:, :2]}, {}, r"\[N, 2, 8, 8\].*takes \[N, 3, 8, 8\]"),
        ({"x": FLOATS[:, 0]}, {}, r"\[N, 8, 8\].*takes \[N, 3, 8, 8\]"),
        ({"x": IMAGES[:, :4]}, {"scale": 1.0}, r"\[N, 4, 8, 3\].*takes \[N, 8, 8, 3\]"),
        ({"x": IMAGES.transpose(0, 3, 1, 2)}, {"scale": 1.0}, r"\[N, 3, 8, 8\].*\[N, 8, 8, 3\]"),
        ({"x": IMAGES}, {}, "images need a mean"),
        ({"x": IMAGES}, {"mean": 0.5}, "images need a std"),
        ({"x": IMAGES}, {"mean": (0.1, 0.2), "std": 1.0}, "mean has 2 values for 3 channels"),
        ({"x": IMAGES}, {"mean": (0.1, np.nan, 0.2), "std": 1.0}, "mean has a value that is not"),
        ({"x": IMAGES}, {"mean": 0.5, "std": 0.0}, "positive"),
        ({"x": IMAGES}, {"scale": -1.0}, "positive"),
        ({"x": FLOATS}, {"mean": 0.5, "std": 0.5}, "is not preprocessed"),
        ({"x": FLOATS}, {"scale": 1.0}, "is not preprocessed"),
        ({"x": FLOATS}, {"size": 8}, "only images of a folder"),
        ({"x": IMAGES.astype(np.int64)}, {}, "x is int64"),
        ({"x": bad(np.nan)}, {}, "1 NaN or infinite values, the first in example 4"),
        ({"x": bad(np.inf)}, {}, "infinite"),
        ({"x": FLOATS[:0]}, {}, "no examples"),
        ({"x": FLOATS, "y": LABELS[:5]}, {}, "x has 6 examples, but y has 5"),
        ({"x": FLOATS, "y": LABELS}, {"classes": 2}, "0 to 2, but the model's classes are 0 to 1"),
        ({"x": FLOATS, "y": LABELS.astype(np.int64) - 1}, {}, "labels run from -1"),
        ({"x": FLOATS, "y": LABELS.astype("U1")}, {}, "y is <U1"),
        ({"x": FLOATS, "y": LABELS * np.nan}, {}, "y holds 6 NaN"),
        ({"images": FLOATS}, {}, "no array 'x', only images"),
        ({"x": np.float32(1)}, {}, "single number"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(npz, image_input, arrays, options, message):
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(npz(**arrays), inputs=image_input, **options)
    assert "\n" not in str(caught.value)
    assert "data.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("x,y,z", "3 arrays"),
        ("x[1:2:3:4]", "slice"),
        ("x[::0]", "slice"),
        ("x[3]", "slice"),
        ("x[a:b]", "cannot read the selection"),
        ("nope", "no array 'nope'"),
        ("x[6:]", "no examples"),
    ],
)
def test_bad_selections(npz, image_input, selection, message):
    with pytest.raises(DataError, match=message):
        load_dataset(f"{npz(x=FLOATS)}#{selection}", inputs=image_input)


def test_files_that_are_not_data(tmp_path, image_input):
    with pytest.raises(DataError, match="no such file"):
        load_dataset(str(tmp_path / "none.npz"), inputs=image_input)
    with pytest.raises(DataError, match="no such file or folder"):
        load_dataset(str(tmp_path / "none"), inputs=image_input)
    text = tmp_path / "text.npz"
    text.write_text("not a zip file")
    with pytest.raises(DataError, match=r"not a readable \.npz"):
        load_dataset(str(text), inputs=image_input)
    (tmp_path / "plain.txt").write_text("text")
    with pytest.raises(DataError, match="is not a folder"):
        load_dataset(str(tmp_path / "plain.txt"), inputs=image_input)
    objects = tmp_path / "objects.npz"
    np.savez(objects, x=np.array([{}, {}], dtype=object))
    with pytest.raises(DataError, match=r"not a readable \.npz"):
        load_dataset(str(objects), inputs=image_input)


def test_images_for_a_network_without_images(npz):
    with pytest.raises(DataError, match=r"images are given.*takes \[N, 16\]"):
        load_dataset(npz(x=IMAGES), inputs=[("i", (1, 16), np.float32)], scale=1.0)


def test_an_array_may_have_the_name_of_the_input(npz, image_input):
    found = load_dataset(npz(input=FLOATS, y=LABELS), inputs=image_input)
    np.testing.assert_array_equal(everything(found)[0], FLOATS)
    np.testing.assert_array_equal(found.labels, LABELS)
