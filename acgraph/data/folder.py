"""A folder with a subfolder of images for each class; images are decoded on access."""

import logging
import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from acgraph.data.batch import Array, Batch
from acgraph.data.dataset import Dataset, Indices, Labels
from acgraph.data.fingerprint import Fingerprint, digest_of, of_files
from acgraph.data.pixels import Pixels
from acgraph.diagnostics import Location
from acgraph.errors import DataError

log = logging.getLogger(__name__)

_SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".ppm", ".tif", ".tiff"])
#: What damaged images raise, and those that would take too much memory.
_UNREADABLE = (
    UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning, OSError,
    SyntaxError, ValueError, IndexError, OverflowError, EOFError, MemoryError, struct.error,
    zlib.error,
)  # fmt: skip
#: Largest number of pixels of an image file; several are decoded at the same time.
MAX_PIXELS = 90_000_000
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class FolderDataset(Dataset):
    """Images in one subfolder for each class; classes are numbered in the order of their names.

    An image is resized to cover the network's input, and cropped at its centre.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], pixels: Pixels, input_name: str = "x"
    ) -> None:
        """List the images.

        Args:
            path: The folder with the class folders.
            size: Height and width in pixels to which images are resized.
            pixels: The normalisation; it has one mean for each channel.
            input_name: Name of the network's input.

        Raises:
            DataError: There is no image in a class folder, or the number of channels is not 1, 3
                or 4.
        """
        self.name = str(path)
        self.layout = pixels.layout
        self._size = size
        self._input = input_name
        self._pixels = pixels
        self._where = Location(model=self.name)
        if len(pixels.mean) not in _MODES:
            raise DataError(
                f"images have 1, 3 or 4 channels, but the model takes {len(pixels.mean)}",
                location=self._where,
                hint="give the data as an .npz file",
            )
        self._mode = _MODES[len(pixels.mean)]
        folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
        self.class_names = tuple(folder.name for folder in folders)
        files = [_images(folder) for folder in folders]
        self._files = [file for group in files for file in group]
        if not self._files:
            raise DataError(
                "holds no images in class folders",
                location=self._where,
                hint="arrange the images as FOLDER/CLASS/IMAGE.png",
            )
        for folder, group in zip(folders, files, strict=True):
            if not group:
                log.warning("%s: class folder '%s' holds no images", path, folder.name)
        counts = [len(group) for group in files]
        self._labels = np.repeat(np.arange(len(folders), dtype=np.int64), counts)
        workers = min(8, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="acgraph-decode")

    @property
    def labels(self) -> Labels:
        """Class numbers of all images, ``[N]``."""
        return self._labels

    def __len__(self) -> int:
        return len(self._files)

    def batch(self, indices: Indices) -> Batch:
        """Decode, resize and normalise images.

        Raises:
            DataError: A file is not a readable image.
        """
        images = list(self._pool.map(self._decode, (self._files[i] for i in indices)))
        return Batch({self._input: self._pixels.apply(np.stack(images))}, self._labels[indices])

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Hash of the files, of their classes, and of the size and the normalisation."""
        found = of_files(self._files, Path(self.name))
        made = f"{self._size} {self._pixels} {self.class_names}"
        return Fingerprint(digest_of(found.digest, made), found.note)

    def _decode(self, file: Path) -> Array:
        height, width = self._size
        try:
            with Image.open(file) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(
                        f"is an image of {image.width:,} x {image.height:,} pixels, and the limit "
                        f"is {MAX_PIXELS:,} pixels",
                        location=Location(model=str(file)),
                        hint="make it smaller, or remove it",
                    )
                turned = ImageOps.exif_transpose(image).convert(self._mode)
                fitted = ImageOps.fit(turned, (width, height), Image.Resampling.BILINEAR)
        except _UNREADABLE as error:
            raise DataError(
                "not a readable image",
                location=Location(model=str(file)),
                hint="remove or repair it",
            ) from error
        return np.asarray(fitted, np.uint8).reshape(height, width, len(self._pixels.mean))


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
