"""Write the files of ``prune``: the model, and its variants for phones."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from acgraph.backends.ort.latency import measure_latency
from acgraph.backends.ort.mobile import CONFIG_SUFFIX, write_ort
from acgraph.backends.ort.quantise import quantise_dynamic
from acgraph.config import Runtime
from acgraph.diagnostics import Location
from acgraph.driver.latency.runtime import session_settings
from acgraph.errors import BackendError, UsageError
from acgraph.ir import (
    InputSizes,
    Model,
    is_device,
    make_folder,
    write_model,
    written_together,
)
from acgraph.report import Int8, LatencyMs

#: Measuring time in seconds, for the quantised and for the compact model each.
LATENCY_BUDGET_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneFiles:
    """The files that ``prune`` writes; standard output (``-``) or a device allows no companions.

    Attributes:
        source: Path of the input model, which no companion of the output may overwrite.
        output: Path of the compact model.
        masked: Path of the masked model.
        ort: Whether to write the ``.ort`` file for phones and its list of operators as well.
        int8: Whether to write a quantised model as well. Without data, it quantises activations
            dynamically, when it runs.
        runtime: The runtime in which the quantised model is timed, see ``session_settings``.
    """

    source: str
    output: str | None
    masked: str | None
    ort: bool = True
    int8: bool = False
    runtime: Runtime = "ort-mobile"

    @property
    def ort_path(self) -> Path | None:
        """Path of the ``.ort`` file for phones; None if it is not written."""
        return self._beside(".ort") if self.ort else None

    @property
    def int8_path(self) -> Path | None:
        """Path of the quantised model; None if it is not written."""
        return self._beside(".int8.onnx") if self.int8 else None

    def check(self) -> None:
        """Check, before any work, that no file would overwrite another one or the input.

        Raises:
            UsageError: One would, or the output is not a file that can have companions.
        """
        for given in (self.output, self.masked):
            if given is not None and (not given or "\0" in given):
                raise UsageError(f"'{given}' is not a path", hint="use for example -o small.onnx")
        if self.output is not None and self.output.endswith(".ort"):
            raise UsageError(
                "the output must be an ONNX file",
                location=Location(model=self.output),
                hint="use for example -o small.onnx; small.ort is written next to it",
            )
        if self.int8 and self.int8_path is None:
            raise UsageError(
                "the quantised model is written next to the output, and no output is given",
                hint="use for example -o small.onnx",
            )
        taken = [path for path in (self.output, self.masked) if path is not None and path != "-"]
        if len({_place(path) for path in taken}) < len(taken):
            raise UsageError(
                "both results would be written to this file",
                location=Location(model=taken[0]),
                hint="use different paths for -o and --masked-out",
            )
        for name in taken:
            if self.source != "-" and _place(name) == _place(self.source):
                raise UsageError(
                    "the output would overwrite the input",
                    location=Location(model=name),
                    hint="choose another path",
                )
        places = {_place(path) for path in [self.source, *taken] if path != "-"}
        for path in self._companions():
            if _place(path) in places:
                raise UsageError(
                    "would be overwritten by a file that is written next to the output "
                    f"{self.output}",
                    location=Location(model=str(path)),
                    hint="use another path for -o",
                )

    def write(self, model: Model, masked: Model) -> Int8 | None:
        """Write all files, or none if one of them cannot be written.

        Returns:
            Size and latency of the quantised model, measured in alternation with the compact model;
            None without one.

        Raises:
            BackendError: ONNX Runtime cannot convert or quantise the compact model.
            OutputError: A file cannot be written, or its folder cannot be created.
        """
        int8, direct = None, []
        for given in (self.output, self.masked):
            if given is not None and given != "-":
                make_folder(Path(given).parent)
        with (
            tempfile.TemporaryDirectory(prefix="acgraph-prune-") as folder,
            written_together() as files,
        ):
            plain = Path(folder) / "model.onnx"
            if self.int8_path is not None or self.ort_path is not None:
                write_model(model, plain)
            for path, written in ((self.output, model), (self.masked, masked)):
                if path is not None and (path == "-" or is_device(path)):
                    direct.append((path, written))
                elif path is not None:
                    write_model(written, files.place(path))
            if self.int8_path is not None:
                target = files.place(self.int8_path)
                self._make(quantise_dynamic, plain, target, "omit --quantize")
                int8 = _measure(plain, target, self.runtime, model.sizes)
            if self.ort_path is not None:
                target = files.place(self.ort_path)
                self._make(write_ort, plain, target, "use --no-ort to skip this file")
        for path, written in direct:
            write_model(written, path)
        return int8

    @property
    def written(self) -> list[str]:
        """Paths of all files that ``write`` writes, the output first; none for standard output."""
        given = [path for path in (self.output, self.masked) if path is not None and path != "-"]
        return [*given, *map(str, self._companions())]

    def _make(
        self, make: Callable[[Path, Path], object], plain: Path, target: Path, hint: str
    ) -> None:
        """Make a companion from a temporary copy, whose path must not appear in an error."""
        try:
            make(plain, target)
        except BackendError as error:
            raise BackendError(
                error.diagnostic.message, location=Location(model=str(self.output)), hint=hint
            ) from error

    def _companions(self) -> Iterator[Path]:
        if self.ort_path is not None:
            yield self.ort_path
            yield self.ort_path.with_suffix(CONFIG_SUFFIX)
        if self.int8_path is not None:
            yield self.int8_path

    def _beside(self, ending: str) -> Path | None:
        """Return the output's path with another suffix instead of ``.onnx``."""
        if self.output is None or self.output == "-" or is_device(self.output):
            return None
        path = Path(self.output)
        stem = path.stem if path.suffix == ".onnx" else path.name
        return path.with_name(stem + ending)


def _measure(
    plain: Path, quantised: Path, runtime: Runtime, input_sizes: InputSizes | None
) -> Int8:
    sizes = [path.stat().st_size for path in (plain, quantised)]
    settings = session_settings(runtime)
    before, after = measure_latency(
        [plain, quantised], settings, sizes=input_sizes, budget_s=LATENCY_BUDGET_S
    )
    return Int8(
        bytes=sizes[1],
        bytes_rate=sizes[0] / sizes[1],
        latency_ms=LatencyMs(p50=after.p50_ms, p90=after.p90_ms),
        latency_rate=before.p50_ms / after.p50_ms,
    )


def _place(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.realpath(path))
