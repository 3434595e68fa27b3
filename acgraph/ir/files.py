"""Atomic writing of files, and one-line errors where a file cannot be read or written."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from acgraph.diagnostics import Location
from acgraph.errors import ImportModelError, OutputError


def is_device(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a device or a pipe, which must not be replaced by a file."""
    place = Path(path)
    return place.exists() and not place.is_file() and not place.is_dir()


def require_file(path: str | os.PathLike[str]) -> None:
    """Check that a path is a file.

    Raises:
        ImportModelError: It does not exist, or it is a folder.
    """
    place = Path(path)
    if not place.is_file():
        raise ImportModelError(
            "is a folder, not a file" if place.is_dir() else "no such file",
            location=Location(model=os.fspath(path)),
            hint="give the path of an .onnx file",
        )


def not_onnx(source: str) -> ImportModelError:
    """Return the error for data that is not ONNX."""
    return ImportModelError(
        "not an ONNX file, or a truncated one",
        location=Location(model=source),
        hint="export or copy it again",
    )


def make_folder(folder: Path) -> None:
    """Create a folder and its parents where they are missing.

    Raises:
        OutputError: It cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be created: {error.strerror}",
            location=Location(model=str(folder)),
            hint="choose another place with -o",
        ) from error


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn errors while a file is written into an OutputError with its path.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: the path contains a null character
        raise OutputError(
            f"cannot be written: {getattr(error, 'strerror', None) or error}",
            location=Location(model=os.fspath(path)),
            hint="choose another place with -o",
        ) from error


def sync(file: IO[bytes]) -> None:
    """Write a file to the disk, so that a crash after its renaming does not leave it empty."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise  # these three: a file system without this
    finally:
        os.close(handle)


@contextlib.contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside a file, for files that are then moved into place.

    Raises:
        OutputError: The files cannot be written.
    """
    with (
        writing(target),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder,
    ):
        yield Path(folder)


def write_bytes(data: bytes | Iterable[bytes | memoryview], path: str | os.PathLike[str]) -> None:
    """Write a file atomically: to a temporary file beside it, which is then renamed.

    The data may come in pieces. Symbolic links are followed. Devices and pipes are written to
    directly.

    Raises:
        OutputError: The folder is missing or cannot be written to.
    """
    pieces = [data] if isinstance(data, bytes) else data
    temporary: str | None = None
    with writing(path):
        try:
            if is_device(path):
                with Path(path).open("wb") as device:
                    device.writelines(pieces)
                return
            target = Path(os.path.realpath(path))
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            with os.fdopen(handle, "wb") as file:
                file.writelines(pieces)
                sync(file)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # noqa: PTH101
            os.replace(temporary, target)  # noqa: PTH105
            temporary = None
            sync_folder(target.parent)
        finally:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
