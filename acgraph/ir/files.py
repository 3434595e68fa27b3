"""Files that are written whole or not at all, with one line of error where they cannot be."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from acgraph.diagnostics import Location
from acgraph.errors import ImportModelError, OutputError


def is_device(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to what is neither a file nor a folder: nothing may replace it."""
    place = Path(path)
    return place.exists() and not place.is_file() and not place.is_dir()


def require_file(path: str | os.PathLike[str]) -> None:
    """Check that there is a file to read a model from.

    Raises:
        ImportModelError: there is none, or it is a folder.
    """
    place = Path(path)
    if not place.is_file():
        raise ImportModelError(
            "is a folder, not a file" if place.is_dir() else "no such file",
            location=Location(model=os.fspath(path)),
            hint="give the path of an .onnx file",
        )


def not_onnx(source: str) -> ImportModelError:
    """Return the error of a file that no ONNX reader understands."""
    return ImportModelError(
        "not an ONNX file, or cut short",
        location=Location(model=source),
        hint="export or copy it again",
    )


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it lies in, unless it is there.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be made: {error.strerror}",
            location=Location(model=str(folder)),
            hint="choose another place with -o",
        ) from error


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong in writing a file into one error that says where.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # a path with a null character is a wrong value
        raise OutputError(
            f"cannot be written: {getattr(error, 'strerror', None) or error}",
            location=Location(model=os.fspath(path)),
            hint="choose another place with -o",
        ) from error


@contextlib.contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """Make a folder beside a file for what will be renamed to it and its companions.

    Raises:
        OutputError: the files cannot be written.
    """
    with (
        writing(target),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder,
    ):
        yield Path(folder)


def write_bytes(data: bytes | Iterable[bytes | memoryview], path: str | os.PathLike[str]) -> None:
    """Write a file whole or not at all: to a temporary neighbour, then renamed.

    The data may come in pieces. Links are followed. What is there and no file, as a device or a
    pipe, is written to as it is.

    Raises:
        OutputError: the folder is missing or cannot be written to.
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
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)  # noqa: PTH101
            os.replace(temporary, target)  # noqa: PTH105
            temporary = None
        finally:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)
