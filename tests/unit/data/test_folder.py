import numpy as np
import pytest

from acgraph.data import load_dataset
from acgraph.errors import DataError


def test_classes_are_numbered_by_name(folder, image_input):
    data = load_dataset(str(folder), inputs=image_input, scale=1.0)
    assert data.class_names == ("ant", "bee", "cat")
    assert data.labels.tolist() == [0, 1, 2, 2]
    assert data.is_image


def test_images_have_the_networks_size(folder, image_input):
    data = load_dataset(str(folder), inputs=image_input, mean=0.5, std=0.5)
    batch = data.batch(np.array([1, 3]))
    x, y = batch.x, batch.labels
    assert x.shape == (2, 3, 8, 8)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[0], np.broadcast_to([[[1.0]], [[-1]], [[-1]]], (3, 8, 8)))
    assert y.tolist() == [1, 2]


def test_the_centre_is_taken(tmp_path, image_input):
    from PIL import Image

    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = 200
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a" / "wide.png")
    data = load_dataset(str(tmp_path), inputs=image_input, scale=1.0)
    assert (data.batch(np.array([0])).x == 200).all()


def test_size_for_networks_of_any_size(folder):
    open_input = [("i", (None, 1, "h", "w"), np.float32)]
    data = load_dataset(str(folder), inputs=open_input, scale=1.0, size=(6, 4))
    assert data.batch(np.array([0, 2])).x.shape == (2, 1, 6, 4)
    with pytest.raises(DataError, match="give the size"):
        load_dataset(str(folder), inputs=open_input, scale=1.0)


def test_size_must_be_the_networks(folder, image_input):
    with pytest.raises(DataError, match=r"size 9 is given.*\[N, 3, 8, 8\]"):
        load_dataset(str(folder), inputs=image_input, scale=1.0, size=9)


def test_more_folders_than_classes(folder, image_input):
    with pytest.raises(DataError, match="classes are 0 to 1"):
        load_dataset(str(folder), inputs=image_input, scale=1.0, classes=2)


def test_no_images(tmp_path, image_input):
    (tmp_path / "class").mkdir()
    with pytest.raises(DataError, match="no images in class folders"):
        load_dataset(str(tmp_path), inputs=image_input, scale=1.0)


def test_an_empty_class_keeps_its_number(folder, image_input, caplog):
    (folder / "asp").mkdir()
    data = load_dataset(str(folder), inputs=image_input, scale=1.0)
    assert data.labels.tolist() == [0, 2, 3, 3]
    assert "class folder 'asp' holds no images" in caplog.text


def test_a_broken_image_is_named(folder, image_input):
    (folder / "ant" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    data = load_dataset(str(folder), inputs=image_input, scale=1.0)
    with pytest.raises(DataError, match=r"broken\.png: not a readable image"):
        data.batch(np.arange(len(data)))


def test_channels_that_no_image_has(folder):
    with pytest.raises(DataError, match="takes 7"):
        load_dataset(str(folder), inputs=[("i", (1, 7, 8, 8), np.float32)], scale=1.0)


def test_images_need_a_stated_mean(folder, image_input):
    with pytest.raises(DataError, match="images need a mean"):
        load_dataset(str(folder), inputs=image_input)
