"""Read Fashion-MNIST in its published form: four files in IDX format, compressed with gzip.

The Debian package ``dataset-fashion-mnist`` installs them in ``/usr/share/datasets/fashion-mnist``.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from acgraph.diagnostics import Location
from acgraph.errors import DataError

ByteArray = npt.NDArray[np.uint8]
#: IDX: two zero bytes, the type (8: unsigned byte), the number of axes, the sizes (big-endian).
_IDX_BYTES = b"\x00\x00\x08"


def load_split(
    folder: str | Path, split: Literal["train", "t10k"]
) -> tuple[ByteArray, npt.NDArray[np.int64]]:
    """Load one split.

    Returns:
        Images ``uint8 [n, 28, 28]`` and labels ``int64 [n]``; ``n`` is 60,000 or 10,000.

    Raises:
        DataError: A file is missing, or is not in IDX format.
    """
    images = read_idx(Path(folder) / f"{split}-images-idx3-ubyte.gz")
    labels = read_idx(Path(folder) / f"{split}-labels-idx1-ubyte.gz")
    return images, labels.astype(np.int64)


def read_idx(path: Path) -> ByteArray:
    """Read a gzip-compressed IDX file of bytes.

    Raises:
        DataError: The file is missing, or is not in IDX format.
    """
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise DataError(
            f"cannot be read: {reason or error}",
            location=Location(model=str(path)),
            hint="install dataset-fashion-mnist, or give its folder",
        ) from error
    axes = data[3] if data.startswith(_IDX_BYTES) and len(data) > 3 else 0
    start = 4 + 4 * axes
    shape = [int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4)]
    if not axes or len(data) != start + math.prod(shape):
        raise DataError("not an IDX file of bytes", location=Location(model=str(path)))
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
