"""``acgraph.compress``: make a trained network smaller by a requested rate."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from acgraph.api.call import checked
from acgraph.api.options import compress_config
from acgraph.api.types import DataLike, ModelLike, RateLike, ShapesLike, as_file, read_shapes
from acgraph.backends.training import ProgressSink
from acgraph.config import CompressConfig
from acgraph.data.in_memory import registered_data
from acgraph.driver import compress as stages
from acgraph.driver.passes import PassSettings
from acgraph.driver.results.folder import CHECKPOINTS
from acgraph.driver.state.functions import UserFunctions
from acgraph.errors import VerifyError
from acgraph.ir import Model, make_folder, read_model
from acgraph.pruning.cut_plan import CutPlan
from acgraph.report import Report, verdict
from acgraph.report.notebook import report_table

_MODEL, _MASKED, _PLAN = "model.onnx", "masked.onnx", "plan.json"
#: Above this size in bytes, an ONNX file keeps its weights in separate files.
_TWO_GIB = 2**31


@dataclass(frozen=True, repr=False)
class CompressResult:
    """The result of a compression run.

    Attributes:
        report: Costs before and after, every layer, fence and round; ``report.exit_code`` is 0
            if the targets were met, else 3.
        folder: The folder with the results; None if they are in memory.
        files: Content of the result files by name; empty unless they are in memory.
    """

    report: Report
    folder: Path | None
    files: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def model(self) -> Model:
        """The compact model."""
        return self._read(_MODEL)

    @cached_property
    def masked(self) -> Model:
        """The trained network at its original size, with zeros in place of what was removed."""
        return self._read(_MASKED)

    @cached_property
    def plan(self) -> CutPlan:
        """The removed indices of every tensor, by the names of the original model."""
        if self.folder is not None:
            return CutPlan.load(self.folder / _PLAN)
        return CutPlan.from_json(self.files[_PLAN].decode())

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write all results to a folder, as ``acgraph compress -o`` does, but no checkpoints.

        Args:
            folder: The folder, which is created if it does not exist.

        Returns:
            The folder.
        """
        target = Path(folder)
        make_folder(target)
        if self.folder is None:
            for name, data in self.files.items():
                (target / name).write_bytes(data)
        elif target.resolve() != self.folder.resolve():
            for path in _results(self.folder):
                shutil.copy2(path, target / path.name)
        return target

    def _read(self, name: str) -> Model:
        if self.folder is not None:
            return read_model(self.folder / name)
        with tempfile.TemporaryDirectory(prefix="acgraph-") as folder:
            path = Path(folder) / name
            for other, data in self.files.items():
                if other.startswith(name):  # and the weights beside it
                    (Path(folder) / other).write_bytes(data)
            model = read_model(path)
            if len(self.files[name]) + len(self.files.get(f"{name}.data", b"")) < _TWO_GIB:
                return _in_memory(model)
            return model

    def _repr_html_(self) -> str:
        return report_table(self.report)

    def __repr__(self) -> str:
        where = "in memory" if self.folder is None else str(self.folder)
        return f"CompressResult({verdict(self.report)!r}, {where})"


def _in_memory(model: Model) -> Model:
    """Copy weights that are memory-mapped from files which are about to be deleted."""
    from acgraph.ir import model_from_proto, proto_from_model

    sizes = model.sizes
    copy = model_from_proto(proto_from_model(model))
    copy.sizes = sizes
    return copy


def _results(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


@checked
def compress(
    model: ModelLike = None,
    *,
    data: DataLike = None,
    target_rate: RateLike | None = None,
    metric: Literal["params", "macs", "size", "latency"] | None = None,
    max_drop: float | None = None,
    eval_data: DataLike = None,
    mean: float | Sequence[float] | str | None = None,
    std: float | Sequence[float] | str | None = None,
    scale: float | None = None,
    layout: Literal["NCHW", "NHWC"] | None = None,
    image_size: int | None = None,
    input_shape: ShapesLike | None = None,
    outputs: Sequence[str] | str | None = None,
    task: Mapping[str, str] | Sequence[str] | str | None = None,
    epochs: float | None = None,
    time_budget: float | str | None = None,
    rounds: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    distill_weight: float | None = None,
    search: str | None = None,
    evaluations: int | None = None,
    criterion: str | None = None,
    keep: str | Sequence[str] | None = None,
    layer_rate: Mapping[str, RateLike] | Sequence[str] | str | None = None,
    max_layer_rate: RateLike | None = None,
    align: int | Literal["auto"] | None = None,
    allow_inexact: bool = False,
    columns_only: bool = False,
    columns: bool | None = None,
    column_pattern: str | None = None,
    column_multiple: int | None = None,
    quantize: Literal["int8"] | None = None,
    runtime: Literal["ort", "ort-mobile"] | None = None,
    threads: int | None = None,
    no_timing: bool = False,
    seed: int | None = None,
    config: str | PathLike[str] | None = None,
    set: Mapping[str, Any] | Sequence[str] = (),
    output: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
    loss: Callable[..., Any] | None = None,
    evaluate: Callable[..., Any] | None = None,
    importance: Callable[..., Any] | None = None,
    progress: Any = None,
    status: Any = None,
) -> CompressResult:
    """Compress a trained network: search rates, train, shrink, lower, check, measure.

    The keywords are the options of ``acgraph compress``, whose ``--help`` describes each. Without
    ``output`` the run works in a temporary folder, and the results are kept in memory.

    Args:
        model: A path, the bytes of a file, an ``onnx.ModelProto`` or an ``acgraph.Model``.
        data: Training data: a string as for ``--data``, an array ``x``, a pair ``(x, y)``, a
            mapping with ``x``, ``y``, ``mean`` and ``std``, a PyTorch ``Dataset`` or
            ``DataLoader``, or any iterable of batches or examples ``x`` or ``(x, y)``. ``x`` is
            ``[examples, ...]`` as the model's input, ``y`` has a label for each example. A model
            with several inputs takes a mapping from input names to arrays, or an iterable of such
            mappings or of tuples.
        target_rate: Size before / size after, for instance ``8`` or ``"8x"``. Without it, the run
            searches for the highest rate whose loss of accuracy is within ``max_drop``.
        metric: The quantity that the rate applies to: ``params``, ``macs``, ``size`` (bytes of the
            file) or ``latency``.
        max_drop: The largest acceptable loss of accuracy, in percentage points.
        eval_data: Evaluation data. One half is used for all choices; accuracy is reported on the
            other half.
        mean: Mean of the image pixels after ``scale``: one value, or one for each channel.
        std: Standard deviation of the image pixels, likewise.
        scale: Factor that pixels are multiplied by first.
        layout: Layout of the network's image input.
        image_size: Height and width in pixels that images of a folder are resized to.
        input_shape: Shapes by input name, for inputs with dynamic dimensions.
        outputs: The outputs to keep; the others, and the nodes that only they need, are removed
            first.
        task: The meaning of the outputs: ``"embedding"`` for all of them, or a mapping such as
            ``{"boxes": "detection"}``.
        epochs: Passes over the training data, summed over all stages.
        time_budget: Time limit instead of ``epochs``: ``"20m"``, or a number of seconds.
        rounds: Number of rounds of search, training and shrinking.
        learning_rate: Peak learning rate.
        batch_size: Examples in a training step.
        distill_weight: Weight of knowledge distillation in the loss, from 0 to 1.
        search: The algorithm that searches the rate of each layer.
        evaluations: The largest number of candidates that a search evaluates in a round.
        criterion: How filters and columns are ranked: ``reconstruction`` or ``magnitude``.
        keep: Patterns of layers that are left whole.
        layer_rate: Upper bounds on the rate of layers, by pattern.
        max_layer_rate: Upper bound on the rate of every layer.
        align: Keep a multiple of this many filters; ``auto`` measures a good multiple.
        allow_inexact: Also cut across normalisation over channels, where the compact model is not
            equivalent to the masked one.
        columns_only: Remove no filters.
        columns: Whether columns are removed.
        column_pattern: Which columns of a layer are removed together.
        column_multiple: Keep a multiple of this many channels at each kernel position.
        quantize: ``int8`` writes a quantised model as well.
        runtime: The runtime that latencies are measured in.
        threads: Number of CPU threads.
        no_timing: Measure no latency.
        seed: Seed of all random numbers.
        config: A YAML file with these options; keyword arguments override it.
        set: Any keys of that file, for instance ``{"train.precision": "fp32"}``.
        output: Folder for the results.
        resume: Folder of an interrupted run to continue. Pass the functions that the run was
            started with again; only their names are compared.
        loss: The training loss, in place of cross-entropy and knowledge distillation. It is called
            with a tuple of the network's outputs, the labels or None, and a tuple of the original
            network's outputs or None, all of them PyTorch tensors, and returns the mean over the
            batch as a scalar tensor.
        evaluate: The score of a network, in place of accuracy or agreement: in the search, for
            ``max_drop`` and in the report. It is called for each batch with a tuple of the outputs
            and the labels or None, as NumPy arrays, and returns a number, which is averaged over
            the examples. Higher is better, and 0.01 counts as a percentage point. (``metric`` is
            the quantity that the rate applies to, as in the option of that name.)
        importance: Ranks filters, in place of ``criterion``, which then ranks columns only. It is
            called with the name of a weight and its values ``[filters, ...]``, and returns a score
            for each filter; those with the lowest scores are removed. The search decides how many
            are removed from each layer.
        progress: Callback for the progress of training, see ``acgraph.backends.training``.
        status: Callback for status lines, one or a few for each stage.

    Returns:
        The compact and the masked model, the plan of the cut and the report.

    Raises:
        UsageError: An option is wrong, or the data does not fit the options.
        DataError: The data does not fit the model.
        AcgraphError: Any other error that the user can correct.
    """
    options = dict(locals())
    for name in ("model", "data", "eval_data", "config", "set", "output", "resume"):
        del options[name]
    for name in ("loss", "evaluate", "importance", "progress", "status"):
        del options[name]
    functions = UserFunctions(loss=loss, evaluate=evaluate, importance=importance)
    options["input_shape"] = read_shapes(input_shape) or None
    work = Path(tempfile.mkdtemp(prefix="acgraph-compress-"))
    is_kept = False
    try:
        with registered_data({"data": data, "eval_data": eval_data}) as specs:
            if model is not None:
                options["model"] = as_file(model, work / "given")
            if resume is not None:
                options["resume"] = Path(resume)
            elif output is not None:
                options["output"] = Path(output)
            else:
                options["output"] = work / "out"
            found = compress_config(
                {**options, **specs},
                config=None if config is None else Path(config),
                set=set if isinstance(set, Mapping) else tuple(set),
            )
            return run(
                found, progress, status, functions=functions,
                in_memory=output is None and resume is None,
            )  # fmt: skip
    except VerifyError:
        is_kept = output is None  # the error names the files there
        raise
    finally:
        if not is_kept:
            shutil.rmtree(work, ignore_errors=True)


def run(
    config: CompressConfig,
    progress: ProgressSink | None = None,
    status: Callable[[str], None] | None = None,
    begin: float | None = None,
    passes: PassSettings | None = None,
    *,
    functions: UserFunctions | None = None,
    in_memory: bool = False,
) -> CompressResult:
    """Run ``compress`` with a configuration.

    Args:
        config: The options.
        progress: Callback for the progress of training.
        status: Callback for status lines.
        begin: Start time of the run in seconds of ``time.perf_counter``.
        passes: How the passes of the run are instrumented.
        functions: Functions of the user: loss, score, importance.
        in_memory: Read the result files into memory, as their folder is temporary.

    Returns:
        The results.

    Raises:
        AcgraphError: The input or the run failed.
    """
    report = stages.compress(config, progress, status, begin, passes, functions)
    folder = config.resume or config.output
    if not in_memory:
        return CompressResult(report, folder)
    files = {path.name: path.read_bytes() for path in _results(folder)}
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return CompressResult(report, None, files)
