"""Write several files so that all of them appear, or none."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from acgraph.diagnostics import Location
from acgraph.errors import OutputError
from acgraph.ir.files import sync_folder, writing


class Together:
    """Files that are written to temporary folders beside their places, and then moved."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._folders: dict[Path, Path] = {}

    def place(self, path: str | os.PathLike[str]) -> Path:
        """Return the temporary path of a file; symbolic links are followed.

        Raises:
            OutputError: The folder cannot be written to, or there is a folder in the file's place.
        """
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise OutputError(
                "is a folder, not a file",
                location=Location(model=os.fspath(path)),
                hint="choose another path",
            )
        folder = target.parent
        if folder not in self._folders:
            with writing(path):
                made = tempfile.TemporaryDirectory(dir=folder, prefix=".acgraph-")
            self._folders[folder] = Path(self._stack.enter_context(made))
        return self._folders[folder] / target.name

    def final(self, error: OutputError) -> OutputError:
        """Return an error that names a temporary path with the final path instead."""
        found = error.diagnostic
        text = found.location.model
        for folder, temporary in self._folders.items():
            text = text.replace(str(temporary), str(folder))
        return OutputError(found.message, location=Location(model=text), hint=found.hint)

    def commit(self) -> None:
        """Move all files to their places.

        Raises:
            OutputError: A file cannot be moved.
        """
        for folder, temporary in self._folders.items():
            # The weights beside a model come before it: NAME.onnx.data sorts after NAME.onnx.
            for file in sorted(temporary.iterdir(), reverse=True):
                with writing(folder / file.name):
                    file.replace(folder / file.name)
            sync_folder(folder)


@contextlib.contextmanager
def written_together() -> Iterator[Together]:
    """Yield the places of files, which are moved at the end of the block if nothing failed.

    Raises:
        OutputError: A file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        files = Together(stack)
        try:
            yield files
        except OutputError as error:
            raise files.final(error) from error
        files.commit()
