"""The output folder: its files, its lock, and atomic replacement of results."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.errors import OutputError, UsageError
from acgraph.ir import external_files, sync_folder
from acgraph.report.verdict import format_bytes

#: All files that a run may write besides the checkpoints, including the weights of models above
#: 2 GiB and the operator list of the .ort file. The report, which describes the others, is last.
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
#: Locked by the run that writes to the folder; the file remains after the run.
LOCK = f"{CHECKPOINTS}/.lock"
#: Folder for results whose equivalence check failed.
FAILED_CHECK = "failed-check"
_STAGED = ".results"
_REHEARSED = ".rehearsal"


@contextlib.contextmanager
def claimed(config: CompressConfig) -> Iterator[None]:
    """Create the output folder and lock it against other runs for the duration of this one.

    It is checked that the run overwrites none of its inputs. The lock is released by the operating
    system if the process is killed.

    Raises:
        UsageError: An input file would be overwritten, or is inside the folder of checkpoints; or
            the output folder is inside a folder of data.
        OutputError: The folder cannot be created or written to, or another run writes to it.
    """
    folder = config.output
    check_inputs_apart(config)
    with _written(folder):
        (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    lock = FileLock(folder / LOCK)
    with _written(folder):
        try:
            lock.acquire(timeout=0)
        except Timeout:  # is an OSError, too
            raise OutputError(
                "another run is writing to this folder",
                location=Location(model=str(folder)),
                hint="wait until it ends, or choose another folder with -o",
            ) from None
    try:
        yield
    finally:
        lock.release()


def check_inputs_apart(config: CompressConfig) -> None:
    """Check that a run overwrites none of its inputs.

    Raises:
        UsageError: An input file would be overwritten, or is inside the folder of checkpoints; or
            the output folder is inside a folder of data.
    """
    for given in _inputs(config):
        _check_apart(given, config.output)


def staged(folder: Path) -> contextlib.AbstractContextManager[Path]:
    """Context manager for a temporary folder for results, on the same disk as the output folder.

    Raises:
        OutputError: It cannot be created.
    """
    return _emptied(folder, _STAGED)


def put_in_place(made: Path, folder: Path) -> None:
    """Replace all results in the output folder by new ones.

    A run that is killed while it writes leaves the old results unchanged. One that is killed during
    the few renames here leaves no report, which is removed first and added last, so that a report
    never describes other files than its own. Every other file is the old one or the new one.

    Args:
        made: The folder with the new results.
        folder: The output folder.

    Raises:
        OutputError: The files cannot be replaced.
    """
    files = sorted(made.iterdir(), key=lambda file: RESULTS.index(file.name))
    names = {file.name for file in files}
    with _written(folder):
        (folder / RESULTS[-1]).unlink(missing_ok=True)
        for name in RESULTS:
            if name not in names:
                (folder / name).unlink(missing_ok=True)
        for file in files:
            file.replace(folder / file.name)
        sync_folder(folder)


def rehearsed(folder: Path) -> contextlib.AbstractContextManager[Path]:
    """Context manager for a temporary folder for a rehearsal, on the same disk as the results.

    Raises:
        OutputError: It cannot be created.
    """
    return _emptied(folder, _REHEARSED)


@contextlib.contextmanager
def _emptied(folder: Path, name: str) -> Iterator[Path]:
    """Create an empty folder, and remove it with its content at the end."""
    staged = folder / name
    shutil.rmtree(staged, ignore_errors=True)
    try:
        with _written(folder):
            staged.mkdir()
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def check_room(folder: Path, needed: int) -> None:
    """Check that the disk has enough free space.

    Args:
        folder: A folder on the disk, which need not exist yet.
        needed: Estimate of the bytes that will be written.

    Raises:
        OutputError: There is not enough space.
    """
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OutputError(
            f"about {format_bytes(needed)} are needed for checkpoints and results, but only "
            f"{format_bytes(free)} are free",
            location=Location(model=str(folder)),
            hint="free some disk space, or choose another folder with -o",
        )


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot be written to: {error.strerror or error}",
            location=Location(model=str(folder)),
            hint="choose another folder with -o",
        ) from error


def _inputs(config: CompressConfig) -> Iterator[Path]:
    """Yield the files and folders that a run reads."""
    if config.model != "-":
        yield Path(config.model)
        yield from external_files(config.model)
    for spec in (config.data, config.eval_data):
        path = Path((spec or "").partition("#")[0])
        if spec and path.exists():
            yield path


def _check_apart(given: Path, folder: Path) -> None:
    where = Location(model=str(given))
    hint = "choose another folder with -o"
    if given.is_dir():
        if folder.resolve().is_relative_to(given.resolve()):
            raise UsageError(
                f"is an input, and the results in {folder} would be written into it",
                location=where,
                hint=hint,
            )
        return
    written = [place / name for place in (folder, folder / FAILED_CHECK) for name in RESULTS]
    if any(file.exists() and file.samefile(given) for file in written):
        raise UsageError(
            f"would be overwritten by the results in {folder}", location=where, hint=hint
        )
    if given.resolve().is_relative_to((folder / CHECKPOINTS).resolve()):
        raise UsageError(
            f"lies in the folder of checkpoints of {folder}", location=where, hint=hint
        )
