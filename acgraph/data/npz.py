"""Check what an ``.npz`` file says about its arrays before any of them is read."""

import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from acgraph.diagnostics import Location
from acgraph.errors import DataError
from acgraph.limits import VARIABLE, check_memory, gibibytes, is_set

#: Files that expand by more than this factor are refused, unless the user sets the limit himself.
_MAX_EXPANSION = 300
#: Files that expand to fewer bytes than this are never refused.
_SMALL_BYTES = 1 << 28


def check_archive(file: Path, where: Location) -> None:
    """Refuse a file that claims to hold more than fits, or that expands without measure.

    Raises:
        DataError: The arrays need more memory than the limit, or an array is larger than its data.
        zipfile.BadZipFile, ValueError, EOFError, RuntimeError: The file is damaged.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        total = sum(member.file_size for member in members)
        check_memory(total, "the arrays", where, DataError)
        packed = sum(member.compress_size for member in members)
        if total > max(_SMALL_BYTES, _MAX_EXPANSION * packed) and not is_set():
            raise DataError(
                f"expands from {gibibytes(packed)} to {gibibytes(total)}, as files do that are "
                "made to exhaust the memory",
                location=where,
                hint=f"if it is genuine, set {VARIABLE}, for example to 16G",
            )
        for member in members:
            if member.filename.endswith(".npy"):
                _check_member(archive, member, where)


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: Location) -> None:
    """Compare the shape that an array claims with the bytes that it has."""
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
    if dtype.hasobject:
        return  # numpy refuses these itself
    claimed = math.prod(shape) * np.dtype(dtype).itemsize
    if claimed > member.file_size:
        raise DataError(
            f"array '{member.filename.removesuffix('.npy')}' claims the shape {list(shape)} and "
            f"{gibibytes(claimed)}, but has {gibibytes(member.file_size)}",
            location=where,
            hint="write the file again",
        )
