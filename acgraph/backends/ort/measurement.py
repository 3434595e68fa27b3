"""Measure cost, latency, memory and accuracy of one or more model files in a runtime."""

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from acgraph.analysis.cost import Cost, file_cost
from acgraph.backends.ort.accuracy import accuracy
from acgraph.backends.ort.bounds import Bounds, integer_bounds
from acgraph.backends.ort.compare import array_errors
from acgraph.backends.ort.footprint import Footprint, measure_footprint
from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.latency import BUDGET_S, Latency, measure_latency
from acgraph.backends.ort.mobile import Usability, check_usability, write_ort
from acgraph.backends.ort.profile import OperatorTime, profile_operators
from acgraph.backends.ort.session import Session, SessionSettings
from acgraph.backends.ort.sizes import file_sizes
from acgraph.backends.ort.web import measure_web
from acgraph.data import Dataset
from acgraph.diagnostics import Location
from acgraph.errors import BackendError, UsageError
from acgraph.ir import Array, read_model
from acgraph.ir.model import Shape

log = logging.getLogger(__name__)

#: Largest relative difference between the outputs of onnxruntime-web and ONNX Runtime.
RUNTIME_TOLERANCE = 1e-3


class Runtime(StrEnum):
    """The runtime to measure in."""

    ORT = "ort"
    ORT_MOBILE = "ort-mobile"
    WEB = "web"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """Options of a measurement.

    Attributes:
        runtime: ONNX Runtime with the given file or its ``.ort`` form, or onnxruntime-web.
        session: Threads, layout and graph optimisation.
        batch: Batch size if it is dynamic; None uses that of ``shapes``, or 1.
        shapes: Shapes of inputs with dynamic axes, by name; see ``file_sizes`` for other inputs.
        runs: Number of samples of each model; None chooses it by ``budget_s``.
        budget_s: Measuring time per model in seconds.
        profile: Whether to measure the time of every operator.
        limit: Largest number of examples for the accuracy; None for all.
    """

    runtime: Runtime = Runtime.ORT
    session: SessionSettings = field(default_factory=SessionSettings)
    batch: int | None = None
    shapes: Mapping[str, Shape] | None = None
    runs: int | None = None
    budget_s: float = BUDGET_S
    profile: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.profile and self.runtime is Runtime.WEB:
            raise UsageError("onnxruntime-web has no operator profiler", hint="leave out --profile")
        if self.session.nchwc and self.runtime is not Runtime.ORT:
            raise UsageError(
                f"the runtime {self.runtime} has no NCHWc layout",
                hint="leave out --nchwc, or use the runtime ort",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The measurement of one file.

    Attributes:
        path: The file.
        cost: Parameters, MACs and bytes; None for an .ort file, whose graph cannot be read.
        file_bytes: Size of the file that was run, which is the .ort form for ort-mobile.
        inputs: Shapes of the inputs, by name.
        latency: Latency; samples ``i`` of files that were measured together are close in time.
        load_ms: Milliseconds to create the session from the file.
        footprint: Memory; None in onnxruntime-web.
        accuracy: Accuracy in ONNX Runtime, from 0 to 1; None without data.
        operators: Time of every operator, if requested.
        usability: Result of the mobile usability checker, for an .onnx file in ort-mobile.
        versions: Versions of runtimes that are not Python packages.
    """

    path: str
    cost: Cost | None
    file_bytes: int
    inputs: dict[str, tuple[int, ...]]
    latency: Latency
    load_ms: float
    footprint: Footprint | None = None
    accuracy: float | None = None
    operators: tuple[OperatorTime, ...] = ()
    usability: Usability | None = None
    versions: Mapping[str, str] | None = None


def measure_files(
    paths: Sequence[str | os.PathLike[str]],
    options: MeasureOptions | None = None,
    *,
    dataset: Dataset | None = None,
) -> list[Measurement]:
    """Measure model files in interleaved runs.

    Args:
        paths: .onnx or .ort files.
        options: Options of the measurement.
        dataset: Labelled examples for the accuracy.

    Returns:
        One measurement for each file, in their order.

    Raises:
        ImportModelError: A file is missing or is not a model.
        BackendError: A model cannot be run.
    """
    used = options or MeasureOptions()
    names = [os.fspath(path) for path in paths]
    with tempfile.TemporaryDirectory(prefix="acgraph-measure-") as folder:
        jobs = [_open(name, index, Path(folder), used) for index, name in enumerate(names)]
        for remark in dict.fromkeys(job.session.sizes.remark() for job in jobs):
            if remark:
                log.warning("%s", remark)
        timings = _in_web(jobs, used) if used.runtime is Runtime.WEB else _in_ort(jobs, used)
        return [
            _finish(job, timing, used, dataset) for job, timing in zip(jobs, timings, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One model to measure: the given file, the file that is run, and its inputs."""

    path: str
    file: str
    session: Session
    feeds: dict[str, Array]
    bounds: Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timing:
    latency: Latency
    load_ms: float
    footprint: Footprint | None = None
    versions: Mapping[str, str] | None = None


def _open(path: str, index: int, folder: Path, options: MeasureOptions) -> _Job:
    file = path
    if options.runtime is Runtime.ORT_MOBILE and not _is_ort(path):
        file = str(folder / f"{index}.ort")
        write_ort(path, file)
    session = Session(file, options.session)
    session.sizes = file_sizes(path, session, options.shapes)
    has_integers = any(
        np.dtype(i.dtype).kind in "iu" for i in session.inputs if i.dtype is not None
    )
    bounds = integer_bounds(read_model(path)) if has_integers and not _is_ort(path) else {}
    feeds = random_inputs(session, batch=options.batch, bounds=bounds)
    return _Job(path=path, file=file, session=session, feeds=feeds, bounds=bounds)


def _is_ort(name: str) -> bool:
    return Path(name).suffix.lower() == ".ort"


def _in_ort(jobs: Sequence[_Job], options: MeasureOptions) -> list[_Timing]:
    latencies = measure_latency(
        [job.session for job in jobs],
        feeds=[job.feeds for job in jobs],
        runs=options.runs,
        budget_s=options.budget_s,
    )
    timings = []
    for job, latency in zip(jobs, latencies, strict=True):
        shapes = {name: array.shape for name, array in job.feeds.items()}
        footprint = measure_footprint(job.file, options.session, shapes=shapes, bounds=job.bounds)
        timings.append(_Timing(latency=latency, load_ms=footprint.load_ms, footprint=footprint))
    return timings


def _in_web(jobs: Sequence[_Job], options: MeasureOptions) -> list[_Timing]:
    runs = measure_web(
        [job.file for job in jobs],
        [job.feeds for job in jobs],
        threads=options.session.threads,
        runs=options.runs,
        budget_s=options.budget_s,
    )
    for job, run in zip(jobs, runs, strict=True):
        _check_same(job, run.outputs)
    return [
        _Timing(latency=run.latency, load_ms=run.load_ms, versions=run.versions) for run in runs
    ]


def _check_same(job: _Job, outputs: Mapping[str, Array]) -> None:
    """Check that onnxruntime-web computes the same outputs as ONNX Runtime."""
    for name, reference in job.session.run(job.feeds).items():
        value = outputs.get(name)
        error = np.inf if value is None else array_errors(value, reference)[1]
        if not error <= RUNTIME_TOLERANCE:
            raise BackendError(
                f"onnxruntime-web and ONNX Runtime disagree: the relative error is {error:.1e}",
                location=Location(model=job.path, value=name),
            )


def _finish(
    job: _Job, timing: _Timing, options: MeasureOptions, dataset: Dataset | None
) -> Measurement:
    operators = (
        profile_operators(job.file, options.session, feeds=job.feeds) if options.profile else []
    )
    return Measurement(
        path=job.path,
        cost=None if _is_ort(job.path) else file_cost(job.path, sizes=job.session.sizes),
        file_bytes=Path(job.file).stat().st_size,
        inputs={name: array.shape for name, array in job.feeds.items()},
        latency=timing.latency,
        load_ms=timing.load_ms,
        footprint=timing.footprint,
        accuracy=None if dataset is None else accuracy(job.session, dataset, limit=options.limit),
        operators=tuple(operators),
        usability=check_usability(job.path) if job.file != job.path else None,
        versions=timing.versions,
    )
