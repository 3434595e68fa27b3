"""Sample the images of the demo: ``python -m acgraph.models.embed_demo --data DIR -o FOLDER``.

Training images come from the original training split, test images from the original test split.
They are stored as xz-compressed ``.npy``: 370 bytes per image, against 376 as lossless WebP sheets,
390 as PNG sheets and 435 as ``.npz``.
"""

import argparse
import io
import logging
import lzma
from pathlib import Path
from typing import Literal

import numpy as np

from acgraph.ir import write_bytes
from acgraph.models.fashion_mnist import ByteArray, load_split

log = logging.getLogger(__name__)


def draw(
    folder: Path, split: Literal["train", "t10k"], count: int, seed: int
) -> tuple[ByteArray, ByteArray]:
    """Sample images ``uint8 [count, 28, 28]`` of a split, shuffled, and their labels."""
    images, labels = load_split(folder, split)
    rows = np.random.default_rng(seed).permutation(len(images))[:count]
    return images[rows], labels[rows].astype(np.uint8)


def compressed(array: ByteArray) -> bytes:
    """Return an array as an xz-compressed ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def main() -> None:
    """Sample the images and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the four IDX files")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--train", type=int, default=12_000, help="training images")
    parser.add_argument("--test", type=int, default=5_000, help="test images")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    splits: tuple[tuple[str, Literal["train", "t10k"], int], ...] = (
        ("train", "train", options.train),
        ("test", "t10k", options.test),
    )
    for name, split, count in splits:
        images, labels = draw(options.data, split, count, options.seed)
        for part, array in (("images", images), ("labels", labels)):
            path = options.output / f"{name}-{part}.npy.xz"
            write_bytes(compressed(array), path)
            log.info("%s: %d bytes", path, path.stat().st_size)


if __name__ == "__main__":
    main()
