"""Write what ``prune`` made: the model, and beside it what phones load."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from acgraph.backends.ort.mobile import CONFIG_SUFFIX, write_ort
from acgraph.diagnostics import Location
from acgraph.errors import BackendError, UsageError
from acgraph.ir import Model, write_model


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneFiles:
    """Which files ``prune`` writes; standard output, ``-``, takes nothing beside it.

    Attributes:
        source: The input model, which no file beside the output may overwrite.
        output: The compact model.
        masked: The input model with zeros.
        ort: Whether the file for phones, and its list of operators, lie beside the output.
    """

    source: str
    output: str | None
    masked: str | None
    ort: bool = True

    @property
    def ort_path(self) -> Path | None:
        """The file for phones; None where there is none."""
        return self._beside(".ort") if self.ort else None

    def check(self) -> None:
        """See, before any work, that no file would be written over another or over the input.

        Raises:
            UsageError: one would, or the output has the name of the file that comes beside it.
        """
        if self.output is not None and self.output.endswith(".ort"):
            raise UsageError(
                "the output is an ONNX file",
                location=Location(model=self.output),
                hint="name it as in small.onnx: small.ort comes beside it",
            )
        taken = [path for path in (self.output, self.masked) if path is not None and path != "-"]
        if len({_place(path) for path in taken}) < len(taken):
            raise UsageError(
                "both results would be written to it",
                location=Location(model=taken[0]),
                hint="give -o and --masked-out different paths",
            )
        places = {_place(path) for path in [self.source, *taken] if path != "-"}
        for path in self._companions():
            if _place(path) in places:
                raise UsageError(
                    f"would be overwritten by what comes beside the output {self.output}",
                    location=Location(model=str(path)),
                    hint="choose another -o, as small.onnx",
                )

    def write(self, model: Model, masked: Model) -> None:
        """Write all of them; what comes beside the output is made before anything is replaced.

        Raises:
            BackendError: ONNX Runtime cannot convert the compact model.
            OutputError: a file cannot be written.
        """
        if self.output is not None:
            self._write_output(model, self.output)
        if self.masked is not None:
            write_model(masked, self.masked)

    def _write_output(self, model: Model, output: str) -> None:
        with tempfile.TemporaryDirectory(prefix="acgraph-prune-") as folder:
            plain = Path(folder) / "model.onnx"
            if self.ort_path is not None:
                write_model(model, plain)
                self._convert(plain, self.ort_path)
        write_model(model, output)

    def _convert(self, plain: Path, target: Path) -> None:
        try:
            write_ort(plain, target)
        except BackendError as error:
            raise BackendError(
                error.diagnostic.message,
                location=Location(model=str(self.output)),
                hint="nothing was written; --no-ort leaves the file for phones out",
            ) from error

    def _companions(self) -> Iterator[Path]:
        if self.ort_path is not None:
            yield self.ort_path
            yield self.ort_path.with_suffix(CONFIG_SUFFIX)

    def _beside(self, ending: str) -> Path | None:
        """A path like the output's, with another ending instead of ``.onnx``."""
        if self.output is None or self.output == "-":
            return None
        path = Path(self.output)
        stem = path.stem if path.suffix == ".onnx" else path.name
        return path.with_name(stem + ending)


def _place(path: str | os.PathLike[str]) -> Path:
    return Path(path).resolve()
