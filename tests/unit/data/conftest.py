import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def image_input():
    return [("input", ("batch", 3, 8, 8), np.float32)]


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return str(path)

    return write


@pytest.fixture
def folder(tmp_path):
    """Three class folders, written out of order, of images of different sizes and modes."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for name, mode, size, count in (("cat", "RGB", (20, 10), 2), ("ant", "L", (8, 8), 1)):
        (root / name).mkdir(parents=True)
        for i in range(count):
            shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
            pixels = rng.integers(0, 256, shape, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    (root / "bee").mkdir()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(root / "bee" / "red.png")
    (root / "bee" / "notes.txt").write_text("no image")
    return root
