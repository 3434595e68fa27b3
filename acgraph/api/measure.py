"""``acgraph.measure``: costs, latency, memory and accuracy, of one model or of two."""

from dataclasses import dataclass
from typing import Literal

from acgraph.api.call import checked
from acgraph.api.session_data import Numbers, open_data, refuse_without_data
from acgraph.api.types import DataLike, ModelLike, ShapesLike, as_files, read_shapes
from acgraph.backends.ort.latency import compare_latency
from acgraph.backends.ort.measurement import Measurement, MeasureOptions, Runtime, measure_files
from acgraph.backends.ort.session import Session, SessionSettings
from acgraph.data.in_memory import registered_data
from acgraph.errors import UsageError


@dataclass(frozen=True, repr=False)
class MeasureResult:
    """The measurements of a model, and of another one that it is compared with.

    Attributes:
        model: Measurements of the model.
        against: Measurements of the model that it is compared with, if there is one.
        options: The settings of the measurement.
    """

    model: Measurement
    against: Measurement | None
    options: MeasureOptions

    @property
    def speed_up(self) -> float | None:
        """Latency of ``against`` divided by that of the model; None without ``against``."""
        if self.against is None:
            return None
        return compare_latency(self.against.latency, self.model.latency).median

    def __repr__(self) -> str:
        faster = (
            "" if self.speed_up is None else f", {self.speed_up:.2f}x as fast as the other model"
        )
        size = f"{self.model.file_bytes:,} bytes"
        return f"MeasureResult({self.model.latency.p50_ms:.3g} ms, {size}{faster})"


@checked
def measure(
    model: ModelLike,
    against: ModelLike = None,
    *,
    runtime: Literal["ort", "ort-mobile", "web"] = "ort",
    data: DataLike = None,
    mean: Numbers = None,
    std: Numbers = None,
    scale: float | None = None,
    limit: int | None = None,
    threads: int = 1,
    nchwc: bool = False,
    batch: int | None = None,
    input_shape: ShapesLike | None = None,
    runs: int | None = None,
    profile: bool = False,
) -> MeasureResult:
    """Measure a model in ONNX Runtime, configured as on a phone: one thread, no NCHWc layout.

    Args:
        model: A path (also of a ``.ort`` file), bytes, an ``onnx.ModelProto`` or an
            ``acgraph.Model``.
        against: The model before it was cut. The timed runs alternate between the two models.
        runtime: ``ort``, ``ort-mobile`` or ``web``.
        data: Labelled examples to measure accuracy on, as for ``acgraph.compress``.
        mean: Mean of the pixels of uint8 images after ``scale``.
        std: Standard deviation of these pixels.
        scale: Factor that uint8 pixels are multiplied by first.
        limit: The largest number of examples to use.
        threads: Threads inside an operator.
        nchwc: Let x86 hosts use the NCHWc layout.
        batch: Size of a dynamic batch axis; 1 by default.
        input_shape: Shapes by input name, for inputs with dynamic dimensions.
        runs: Number of timed runs; by default as many as take two seconds.
        profile: List the time of every operator.

    Returns:
        Costs, latency in seconds, memory in bytes and, with data, accuracy.

    Raises:
        UsageError: An option is wrong.
        BackendError: A model cannot be run.
    """
    shapes = read_shapes(input_shape)
    if batch is not None and any(shape[0] != batch for shape in shapes.values()):
        raise UsageError(f"--batch {batch} contradicts --input-shape", hint="give only one of them")
    if data is None:
        refuse_without_data(mean=mean, std=std, scale=scale, limit=limit)
    given = [model] if against is None else [model, against]
    with as_files(*given) as files, registered_data({"data": data}) as specs:
        dataset = None
        if "data" in specs:
            session = Session(files[0])
            dataset = open_data(specs["data"], files[0], session, shapes, mean, std, scale)
            shapes = dict(session.sizes.shapes)
        options = MeasureOptions(
            runtime=Runtime(runtime),
            session=SessionSettings(threads=threads, nchwc=nchwc),
            batch=batch,
            shapes=shapes,
            runs=runs,
            profile=profile,
            limit=limit,
        )
        first, *others = measure_files(files, options, dataset=dataset)
    return MeasureResult(first, others[0] if others else None, options)
