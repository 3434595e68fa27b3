"""Files of named arrays: ``.npz`` and ``.safetensors``."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from acgraph.data.batch import Array
from acgraph.data.npz import check_archive
from acgraph.diagnostics import Location, on_one_line
from acgraph.errors import DataError
from acgraph.limits import check_memory

#: Suffixes of files of arrays.
SUFFIXES = (".npz", ".safetensors")

#: What damaged files raise: RuntimeError comes from encrypted ones and unknown compression, the
#: last ones from headers that are not a shape.
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, SafetensorError, ValueError, EOFError, OSError, RuntimeError,
    OverflowError, SyntaxError, MemoryError,
)  # fmt: skip


def is_array_file(spec: str) -> bool:
    """Return whether a data specification names a file of arrays.

    >>> is_array_file("a.npz#x[:10]"), is_array_file("a.safetensors"), is_array_file("a.png")
    (True, True, False)
    """
    return spec.partition("#")[0].endswith(SUFFIXES)


@contextmanager
def opened_arrays(path: str | Path) -> Iterator[Mapping[str, Array]]:
    """Open a file of arrays; arrays of an ``.npz`` file are read on access.

    Raises:
        DataError: The file does not exist or cannot be read.
    """
    where, file = Location(model=str(path)), Path(path)
    kind = file.suffix
    if not file.is_file():
        raise DataError("no such file", location=where, hint=f"give the path of an {kind} file")
    try:
        if kind == ".safetensors":
            check_memory(file.stat().st_size, "the arrays", where, DataError)
            yield load_file(file)
            return
        check_archive(file, where)
        with np.load(file, allow_pickle=False) as archive:
            yield archive
    except _UNREADABLE as error:
        how = "numpy.savez, without Python objects" if kind == ".npz" else "safetensors"
        raise DataError(
            f"not a readable {kind} file: {on_one_line(error) or type(error).__name__}",
            location=where,
            hint=f"write the file with {how}",
        ) from error


def read_arrays(path: str | Path) -> dict[str, Array]:
    """Read all arrays of a file.

    Raises:
        DataError: The file does not exist or cannot be read.
    """
    with opened_arrays(path) as found:
        return {name: found[name] for name in found}
