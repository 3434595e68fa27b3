"""Observers of a pipeline: print the model, and write a reproducer when a pass fails."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from acgraph.errors import OutputError
from acgraph.ir import Model, clone_model, write_bytes, write_model
from acgraph.ir.text import text_from_model
from acgraph.passmanager.base import Pass, PassResult
from acgraph.passmanager.pipeline import pass_text

Write = Callable[[str], object]


class Instrument:
    """Base class of observers; its methods do nothing."""

    def before_pass(self, one: Pass, model: Model) -> None:
        """Called before a pass runs."""

    def after_pass(self, one: Pass, model: Model, result: PassResult, seconds: float) -> None:
        """Called after a pass ran and was checked; ``seconds`` excludes the check."""

    def on_failure(self, one: Pass, model: Model) -> None:
        """Called when a pass or the check after it failed; the model may be invalid."""


@dataclass(frozen=True, slots=True)
class PrintIr(Instrument):
    """Print the model after passes.

    Attributes:
        when: ``all``, ``change``, ``failure``, or the name of a pass.
        write: Writes the text.
    """

    when: str
    write: Write

    def after_pass(self, one: Pass, model: Model, result: PassResult, seconds: float) -> None:
        """Print the model where ``when`` selects this pass."""
        wanted = {"all": True, "change": result.modified, "failure": False}
        if wanted.get(self.when, self.when == one.name):
            self._print(one, model, "after")

    def on_failure(self, one: Pass, model: Model) -> None:
        """Print the model where ``when`` selects failures of this pass."""
        if self.when in ("all", "failure", one.name):
            self._print(one, model, "failure in")

    def _print(self, one: Pass, model: Model, when: str) -> None:
        self.write(f"// ----- {when} {pass_text(one)} -----\n{text_from_model(model)}")


@dataclass(slots=True)
class Reproducer(Instrument):
    """When a pass fails, write the model before the pass, and the command that repeats the failure.

    Attributes:
        folder: Folder of ``reproducer.onnx`` and ``pipeline.txt``; created where missing.
        write: Prints the command.
    """

    folder: Path
    write: Write
    _before: Model | None = field(default=None, init=False)

    def before_pass(self, one: Pass, model: Model) -> None:
        """Keep a copy of the model; it shares the constants and is cheap."""
        self._before = clone_model(model)

    def on_failure(self, one: Pass, model: Model) -> None:
        """Write the files.

        Raises:
            OutputError: The folder cannot be written to.
        """
        if self._before is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be created: {error.strerror}") from error
        path = self.folder / "reproducer.onnx"
        write_model(self._before, path)
        write_bytes(f"{pass_text(one)}\n".encode(), self.folder / "pipeline.txt")
        self.write(f"to reproduce: acgraph opt {path} -p '{pass_text(one)}' --debug\n")
