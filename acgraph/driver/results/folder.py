"""The folder of the results: what is written there, and what must not be."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.errors import OutputError, UsageError
from acgraph.ir import external_files
from acgraph.report.verdict import format_bytes

#: Every file that a run may write beside the checkpoints; the weights of models above 2 GiB and
#: the operator list of the .ort file included. The report, which speaks of the others, is last.
RESULTS = (
    "model.onnx",
    "model.onnx.data",
    "model.ort",
    "model.required_operators_and_types.config",
    "model.int8.onnx",
    "masked.onnx",
    "masked.onnx.data",
    "plan.json",
    "report.html",
    "report.json",
)
CHECKPOINTS = "checkpoints"
#: Held by the run that writes to the folder; the file alone means nothing.
LOCK = f"{CHECKPOINTS}/.lock"
#: Where results go whose equivalence check failed.
FAILED_CHECK = "failed-check"
_STAGED = ".results"
_REHEARSED = ".rehearsal"


@contextlib.contextmanager
def claimed(config: CompressConfig) -> Iterator[None]:
    """Make the folder of the results and keep other runs out of it while this one lasts.

    Nothing that the run reads is overwritten. The lock is the system's, so that of a process which
    was killed is gone with it.

    Raises:
        UsageError: a file of the input is one that would be written, or lies among the
            checkpoints; or the results would lie inside a folder of data.
        OutputError: the folder cannot be made or written to, or another run writes to it.
    """
    folder = config.output
    for given in _inputs(config):
        _check_apart(given, folder)
    with _written(folder):
        (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    lock = FileLock(folder / LOCK)
    with _written(folder):
        try:
            lock.acquire(timeout=0)
        except Timeout:  # of the system's errors one, too
            raise OutputError(
                "another run writes to it",
                location=Location(model=str(folder)),
                hint="wait until it ends, or choose another place with -o",
            ) from None
    try:
        yield
    finally:
        lock.release()


def staged(folder: Path) -> contextlib.AbstractContextManager[Path]:
    """Give a folder to write results to, on the disk where they will be; it goes at the end.

    Raises:
        OutputError: it cannot be made.
    """
    return _emptied(folder, _STAGED)


def put_in_place(made: Path, folder: Path) -> None:
    """Replace all results in a folder by those that were made for it.

    A run that dies while it writes leaves the old results as they were. One that dies in the few
    renames here leaves no report, the first file to go and the last to come: what is there is
    never described by a report of something else.

    Args:
        made: The folder that holds the new results.
        folder: Where they go.

    Raises:
        OutputError: the files cannot be replaced.
    """
    files = sorted(made.iterdir(), key=lambda file: RESULTS.index(file.name))
    with _written(folder):
        for name in reversed(RESULTS):
            (folder / name).unlink(missing_ok=True)
        for file in files:
            file.replace(folder / file.name)


def rehearsed(folder: Path) -> contextlib.AbstractContextManager[Path]:
    """Give a folder on the disk of the results whose content is thrown away at the end.

    Raises:
        OutputError: it cannot be made.
    """
    return _emptied(folder, _REHEARSED)


@contextlib.contextmanager
def _emptied(folder: Path, name: str) -> Iterator[Path]:
    """Make a folder anew, and remove it at the end with what is left in it."""
    staged = folder / name
    shutil.rmtree(staged, ignore_errors=True)
    try:
        with _written(folder):
            staged.mkdir()
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def check_room(folder: Path, needed: int) -> None:
    """Make sure that the disk has room for what will be written to a folder.

    Args:
        folder: The folder, which exists.
        needed: Bytes, as far as they are known.

    Raises:
        OutputError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"needs about {format_bytes(needed)} for checkpoints and results, and "
            f"{format_bytes(free)} are free",
            location=Location(model=str(folder)),
            hint="make room, or choose another place with -o",
        )


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot be written to: {error.strerror or error}",
            location=Location(model=str(folder)),
            hint="choose another place with -o",
        ) from error


def _inputs(config: CompressConfig) -> Iterator[Path]:
    """Name the files and folders that a run reads; standard input and Python callables are none."""
    if config.model != "-":
        yield Path(config.model)
        yield from external_files(config.model)
    for spec in (config.data, config.eval_data):
        path = Path((spec or "").partition("#")[0])
        if spec and path.exists():
            yield path


def _check_apart(given: Path, folder: Path) -> None:
    where = Location(model=str(given))
    hint = "choose another place with -o"
    if given.is_dir():
        if folder.resolve().is_relative_to(given.resolve()):
            raise UsageError(f"the results in {folder} would lie in it", location=where, hint=hint)
        return
    written = [place / name for place in (folder, folder / FAILED_CHECK) for name in RESULTS]
    if any(file.exists() and file.samefile(given) for file in written):
        raise UsageError(
            f"would be overwritten by the results in {folder}", location=where, hint=hint
        )
    if given.resolve().is_relative_to((folder / CHECKPOINTS).resolve()):
        raise UsageError(f"lies among the checkpoints of {folder}", location=where, hint=hint)
