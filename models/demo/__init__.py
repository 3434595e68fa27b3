"""The trained network and the images of ``acgraph demo``, which are part of the package.

``acgraph.models.train_demo`` trained the network, and ``acgraph.models.embed_demo`` sampled the
images. Each of ``train``, ``test``, ``select`` and ``report`` can be passed to ``--data``
(``--data acgraph.models.demo:train``). It returns one batch ``(x, y)`` of all its examples: ``x``
float32 ``[n, 1, 28, 28]``, normalised, and ``y`` int64 ``[n]``.
"""

import lzma
from pathlib import Path

import numpy as np
import numpy.typing as npt

ByteArray = npt.NDArray[np.uint8]
Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]

#: Mean and standard deviation of the training pixels on a scale of 0 to 1; the input of the network
#: is ``(pixel / 255 - mean) / std``.
mean = 0.286
std = 0.353
#: Names of the ten labels.
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
#: Number of the first test images, used for selection; the others are for the reported result.
SELECT_COUNT = 2000

_FOLDER = Path(__file__).parent


def model_path() -> Path:
    """Return the path of the network: ``input [batch, 1, 28, 28]``, ``output [batch, 10]``."""
    return _FOLDER / "model.onnx"


def load_data() -> tuple[ByteArray, ByteArray, ByteArray, ByteArray]:
    """Load the stored images.

    Returns:
        Training images ``uint8 [12000, 28, 28]``, their labels ``uint8 [12000]``, test images
        ``uint8 [5000, 28, 28]`` (of the original test split) and their labels.
    """
    train_images, train_labels = _load("train")
    test_images, test_labels = _load("test")
    return train_images, train_labels, test_images, test_labels


def train() -> list[Batch]:
    """Return the training images."""
    return [_as_batch(*_load("train"))]


def select() -> list[Batch]:
    """Return the first 2,000 test images, for selection."""
    images, labels = _load("test")
    return [_as_batch(images[:SELECT_COUNT], labels[:SELECT_COUNT])]


def report() -> list[Batch]:
    """Return the other 3,000 test images, for the reported result; no selection uses them."""
    images, labels = _load("test")
    return [_as_batch(images[SELECT_COUNT:], labels[SELECT_COUNT:])]


def test() -> list[Batch]:
    """Return all 5,000 test images; ``compress`` selects on half of them and reports the rest."""
    return [_as_batch(*_load("test"))]


def normalise(images: ByteArray) -> npt.NDArray[np.float32]:
    """Convert images ``uint8 [n, 28, 28]`` to inputs ``float32 [n, 1, 28, 28]``."""
    scaled = images[:, None].astype(np.float32) / 255.0
    return ((scaled - mean) / std).astype(np.float32)


def _as_batch(images: ByteArray, labels: ByteArray) -> Batch:
    return normalise(images), labels.astype(np.int64)


def _load(split: str) -> tuple[ByteArray, ByteArray]:
    images, labels = (_load_array(f"{split}-{part}.npy.xz") for part in ("images", "labels"))
    return images, labels


def _load_array(name: str) -> ByteArray:
    with lzma.open(_FOLDER / name) as file:
        array: ByteArray = np.lib.format.read_array(file, allow_pickle=False)
    return array
