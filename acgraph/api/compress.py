"""``acgraph.compress``: make a trained network smaller by a rate that is asked for."""

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
from acgraph.data.given import holding
from acgraph.driver import compress as stages
from acgraph.driver.passes import PassSettings
from acgraph.driver.results.folder import CHECKPOINTS
from acgraph.driver.state.functions import UserFunctions
from acgraph.errors import VerifyError
from acgraph.ir import Model, make_folder, read_model
from acgraph.pruning.cut_plan import CutPlan
from acgraph.report import Report, verdict

_MODEL, _MASKED, _PLAN = "model.onnx", "masked.onnx", "plan.json"
#: Weights of large models lie in files beside these.
_TWO_GIB = 2**31


@dataclass(frozen=True, repr=False)
class CompressResult:
    """What a run came to.

    Attributes:
        report: Costs before and after, every layer, fence and round; ``report.exit_code`` is 0
            where the targets were met, else 3.
        folder: Where the results lie; None where they are in memory.
        files: Their content by name, where they are in memory.
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
        """The trained network at full size, with zeros where something was cut."""
        return self._read(_MASKED)

    @cached_property
    def plan(self) -> CutPlan:
        """What was cut, in the names and positions of the model that was given."""
        if self.folder is not None:
            return CutPlan.load(self.folder / _PLAN)
        return CutPlan.from_json(self.files[_PLAN].decode())

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write all results to a folder, as ``acgraph compress -o`` does, without checkpoints.

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

    def __repr__(self) -> str:
        where = "in memory" if self.folder is None else str(self.folder)
        return f"CompressResult({verdict(self.report)!r}, {where})"


def _in_memory(model: Model) -> Model:
    """Read what is mapped from files that are about to go."""
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
    say: Any = None,
) -> CompressResult:
    """Compress a trained network: search rates, train, shrink, lower, check, measure.

    The keywords are the options of ``acgraph compress``, whose ``--help`` describes each. Without
    ``output`` the run works in a temporary folder, and the results are kept in memory.

    Args:
        model: A path, the bytes of a file, an ``onnx.ModelProto`` or an ``acgraph.Model``.
        data: Training data: a text as ``--data`` takes it, an array ``x``, ``(x, y)``, a mapping
            of ``x``, ``y``, ``mean`` and ``std``, a PyTorch ``Dataset`` or ``DataLoader``, or any
            iterable of batches or examples ``x`` or ``(x, y)``. For several inputs: a mapping of an
            array for each by its name, or mappings or tuples of them as items.
        target_rate: Size before / size after, as ``8`` or ``"8x"``. Without it the highest rate
            whose accuracy is within ``max_drop`` is sought.
        metric: What the rate is of: ``params``, ``macs``, ``size`` or ``latency``.
        max_drop: Accuracy that may be lost, in percentage points.
        eval_data: Data to measure accuracy on; one half chooses, the other half is reported.
        mean: Of image pixels, after ``scale``.
        std: Likewise.
        scale: What pixels are multiplied by first.
        layout: How the network takes images.
        image_size: Height and width for images of a folder.
        input_shape: Shapes of inputs whose sizes the file leaves open, by name.
        outputs: The outputs that stay; the others, and what only they need, are cut off first.
        task: What outputs mean, as ``"embedding"`` for all or ``{"boxes": "detection"}``.
        epochs: Passes over the training data, all stages together.
        time_budget: Instead of epochs, as ``"20m"`` or seconds.
        rounds: Rounds of search, training and shrinking.
        learning_rate: The peak of the learning rate.
        batch_size: Examples in a training step.
        distill_weight: Share of knowledge distillation in the loss, from 0 to 1.
        search: How rates of layers are searched.
        evaluations: Points that a search evaluates in a round, at most.
        criterion: What ranks filters and columns: ``reconstruction`` or ``magnitude``.
        keep: Patterns of layers that stay whole.
        layer_rate: By pattern: the most that such layers are cut by.
        max_layer_rate: The most that any layer is cut by.
        align: Keep multiples of so many filters, or ``auto``.
        allow_inexact: Cut across normalisation over channels, too.
        columns_only: Cut no filters.
        columns: Whether columns are cut.
        column_pattern: Which columns stay together.
        column_multiple: Keep multiples of so many channels.
        quantize: ``int8`` writes a quantised model as well.
        runtime: What is timed.
        threads: CPU threads.
        no_timing: Time nothing.
        seed: Of every random choice.
        config: A YAML file with these options; keywords go over it.
        set: Any key of that file, as ``{"train.precision": "fp32"}``.
        output: Folder of the results.
        resume: Folder of an interrupted run to go on with. Functions that the run was started with
            must be given again; only their names are compared.
        loss: A function that training minimises, in place of cross-entropy and knowledge
            distillation. It is called with a tuple of the outputs of the network, the labels or
            None, and a tuple of the outputs of the original or None, all of them tensors of
            PyTorch, and returns the mean over the batch as a scalar tensor.
        evaluate: A function that judges networks, in place of accuracy or agreement: in the search,
            for ``max_drop`` and in the report. It is called with a tuple of the outputs and the
            labels or None of a batch, as arrays of NumPy, and returns a number, which is averaged
            over the examples. The higher, the better, and 0.01 is a percentage point. (``metric``
            says what the rate is of, as the option of that name does.)
        importance: A function that says which filters go, in place of ``criterion``, which then
            ranks columns only. It is called with the name of a weight and its values
            ``[filters, ...]``, and returns a score for each filter; the lowest go. How many go in
            each layer the search decides.
        progress: Called with the progress of training, see ``acgraph.backends.training``.
        say: Called with a line about each stage.

    Raises:
        UsageError: an option is wrong, or the data does not fit the options.
        DataError: the data does not fit the model.
        AcgraphError: anything else that a user can act on.
    """
    options = dict(locals())
    for name in ("model", "data", "eval_data", "config", "set", "output", "resume"):
        del options[name]
    for name in ("loss", "evaluate", "importance", "progress", "say"):
        del options[name]
    functions = UserFunctions(loss=loss, evaluate=evaluate, importance=importance)
    options["input_shape"] = read_shapes(input_shape) or None
    work = Path(tempfile.mkdtemp(prefix="acgraph-compress-"))
    is_kept = False
    try:
        with holding({"data": data, "eval_data": eval_data}) as specs:
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
                found, progress, say, functions=functions,
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
    say: Callable[[str], None] | None = None,
    begin: float | None = None,
    passes: PassSettings | None = None,
    *,
    functions: UserFunctions | None = None,
    in_memory: bool = False,
) -> CompressResult:
    """Run what a configuration says.

    Args:
        config: What to do.
        progress: Who shows how far training is.
        say: Who prints a line about each stage.
        begin: When the run began, on the clock of ``time.perf_counter``.
        passes: How the passes of the run are watched.
        functions: Functions of the user's, if there are any.
        in_memory: Read the results and forget their folder.
    """
    report = stages.compress(config, progress, say, begin, passes, functions)
    folder = config.resume or config.output
    if not in_memory:
        return CompressResult(report, folder)
    files = {path.name: path.read_bytes() for path in _results(folder)}
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return CompressResult(report, None, files)
