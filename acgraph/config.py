"""The configuration of ``compress``: options of a file, overridden by those of the command line.

A configuration file is YAML with the names of the fields below; ``train``, ``admm``,
``search`` and ``columns`` are sections::

    target_rate: 8x
    max_drop: 1.0
    data: train.npz
    train: {learning_rate: 0.02, batch_size: 64}
    search: {method: dp, evaluations: 40}
    columns: {pattern: auto}
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from acgraph.admm.config import AdmmConfig
from acgraph.backends.training import TrainConfig
from acgraph.config_fields import (
    AUTO,
    Align,
    Finite,
    InputShapes,
    LayerRates,
    Names,
    Numbers,
    Patterns,
    RateField,
    Seconds,
    Tasks,
)
from acgraph.config_sections import ColumnConfig, SearchConfig
from acgraph.data.generated import SYNTHETIC
from acgraph.errors import UsageError

Metric = Literal["params", "macs", "size", "latency"]
#: How units are ranked: by the error of the layers' outputs, or by the size of the weights.
Criterion = Literal["reconstruction", "magnitude"]
#: Data types that a network can be quantised to.
Quantize = Literal["int8"]
#: Where the result is meant to run: in ONNX Runtime on an x86 server, or on a phone.
Runtime = Literal["ort", "ort-mobile"]


class CompressConfig(BaseModel):
    """All options of ``compress``.

    Attributes:
        model: Path of the ONNX file.
        target_rate: The metric before divided by that after; None searches for the highest rate
            within ``max_drop``.
        metric: The quantity that the rate applies to: params, MACs, bytes of the file, or latency.
        max_drop: Largest acceptable loss of accuracy, in percentage points; None sets no limit.
        data: Training data, as in ``acgraph.data.load_dataset``; synthetic data if None.
        eval_data: Evaluation data; if None, a part of ``data`` is held out for it.
        mean: Mean of the pixels after ``scale``: one value, or one for each channel.
        std: Standard deviation of the pixels, likewise.
        scale: Factor that pixels are multiplied by first; 1/255 by default.
        input_shape: Shapes by input name, for inputs with dynamic dimensions; by default those of
            the data.
        layout: Layout of the image input; by default it is detected from the model.
        image_size: Height and width in pixels for images of a folder, if dynamic in the network.
        outputs: The outputs to keep; an empty tuple keeps all. The others, and the nodes that only
            they need, are removed first.
        task: The task of each output, by its name; the empty name stands for all outputs. The
            tasks of other outputs are guessed, see ``acgraph.tasks``.
        epochs: Passes over the data, summed over all stages; excludes ``time_budget``.
        time_budget: Time limit of the run in seconds; may be written as ``20m``.
        rounds: Number of shrinking rounds; None makes each cut by about 8x (2x for ``magnitude``).
            Without a target rate: the largest number of attempts that train.
        admm_share: Share of the training that is ADMM, over all rounds; None takes the measured
            default, see ``acgraph.driver.schedule.plan``; likewise below.
        retrain_share: Share that is masked retraining, over all rounds; the rest is fine-tuning.
        seed: Seed of all random numbers.
        threads: CPU threads of training and of measuring; None does not change the number.
        criterion: How units are ranked: by the error that their removal causes in the layers'
            outputs, with the kept weights refitted by least squares (``reconstruction``), or by
            the size of their weights (``magnitude``).
        purify: Whether to remove, after the rounds, further units without which the accuracy on
            the selection split does not fall.
        filters: Whether filters are pruned; otherwise only columns are pruned.
        columns: Whether and how columns are pruned.
        align: Keep a multiple of this many filters; ``auto`` times a few layers to find one. None
            is ``auto`` if the target is a latency of ``ort``, whose blocks are large, else 1.
        keep: Patterns (globs, or ``re:`` and a regular expression) of layers that are left whole.
        layer_rate: Upper bounds on the rate of layers, by pattern. A bound applies to each axis of
            the layer's weight and to its columns.
        max_layer_rate: Upper bound on the rate of every layer; the lowest bound of a layer counts.
        allow_inexact: Also cut where the compact network is not equivalent to the masked one.
        quantize: Data type of an additional quantised model; None writes none.
        runtime: The configuration that latencies are measured in: ``ort`` has the NCHWc layout of
            x86 servers, which pads channels to blocks; ``ort-mobile`` is that of a phone.
        timing: Choose compact forms by timing and measure latency; False does neither.
        output: Folder of the results.
        resume: Folder of an interrupted run to continue.
        train: Options of training; seed and threads are those above.
        admm: The schedule of ADMM.
        search: Options of the search for the rate of each layer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    model: str
    target_rate: RateField = None
    metric: Metric = "params"
    max_drop: Annotated[Finite, Field(ge=0, le=100)] | None = None
    data: str = SYNTHETIC
    eval_data: str | None = None
    mean: Numbers | None = None
    std: Numbers | None = None
    scale: Annotated[Finite, Field(gt=0)] | None = None
    input_shape: InputShapes | None = None
    layout: Literal["NCHW", "NHWC"] | None = None
    image_size: Annotated[int, Field(ge=1)] | None = None
    outputs: Names = ()
    task: Tasks = {}
    epochs: Annotated[Finite, Field(ge=0)] | None = None
    time_budget: Seconds | None = None
    rounds: Annotated[int, Field(ge=1)] | None = None
    admm_share: Annotated[Finite, Field(ge=0, le=1)] | None = None
    retrain_share: Annotated[Finite, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    threads: Annotated[int, Field(ge=1)] | None = None
    criterion: Criterion = "reconstruction"
    purify: bool = True
    filters: bool = True
    columns: ColumnConfig = ColumnConfig()
    align: Align | None = None
    keep: Patterns = ()
    layer_rate: LayerRates = {}
    max_layer_rate: RateField = None
    allow_inexact: bool = False
    quantize: Quantize | None = None
    runtime: Runtime = "ort-mobile"
    timing: bool = True
    output: Path = Path("out")
    resume: Path | None = None
    train: TrainConfig = TrainConfig()
    admm: AdmmConfig = AdmmConfig()
    search: SearchConfig = SearchConfig()

    @pydantic.field_validator("data", mode="before")
    @classmethod
    def _synthetic_by_default(cls, value: object) -> object:
        return SYNTHETIC if value is None else value

    @pydantic.model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.target_rate is None and self.max_drop is None:
            raise UsageError(
                "neither a target rate nor a largest accuracy drop is given",
                hint="use --target-rate 8x, or --max-drop 1 for the highest rate that loses at "
                "most 1 point",
            )
        if self.epochs is not None and self.time_budget is not None:
            raise UsageError(
                "both a number of epochs and a time budget are given", hint="give only one of them"
            )
        if (self.admm_share or 0.0) + (self.retrain_share or 0.0) > 1:
            raise UsageError(
                "admm_share and retrain_share add up to more than 1",
                hint="lower one of them; fine-tuning gets the rest",
            )
        if not self.filters and not self.cuts_columns:
            raise UsageError("neither filters nor columns may be pruned", hint="enable one of them")
        if self.columns.enabled is False and self._has_column_pattern:
            raise UsageError(
                "a column pattern or a column multiple is given, but columns are not pruned",
                hint="omit --no-columns, or omit the other two options",
            )
        if self.metric == "latency" and not self.timing:
            raise UsageError("the target is a latency, but timing is off", hint="omit --no-timing")
        if self.align == AUTO and not self.timing:
            raise UsageError(
                "align is auto, but timing is off", hint="give a number, or omit --no-timing"
            )
        if self.resume is not None and "output" in self.model_fields_set:
            check_output(self.output, self.resume)
        return self

    @property
    def cuts_columns(self) -> bool:
        """``columns.enabled``, with its default in place of None; a pattern enables it, too."""
        if self.columns.enabled is not None:
            return self.columns.enabled
        return self.metric != "macs" or not self.filters or self._has_column_pattern

    @property
    def _has_column_pattern(self) -> bool:
        return self.columns.pattern is not None or self.columns.multiple > 1

    @property
    def effective_align(self) -> int | Literal["auto"]:
        """``align``, with its default in place of None."""
        if self.align is not None:
            return self.align
        return AUTO if self.metric == "latency" and self.runtime == "ort" else 1

    @property
    def step(self) -> int:
        """``align`` as a number.

        Raises:
            UsageError: It is ``auto`` and has not been measured yet.
        """
        align = self.effective_align
        if align == AUTO:
            raise UsageError(
                "align is auto, but no multiple has been measured", hint="give a number"
            )
        return align


def check_output(output: Path, resume: Path) -> None:
    """Check that a run which is continued keeps its folder.

    Raises:
        UsageError: The two folders differ.
    """
    if output.resolve() != resume.resolve():
        raise UsageError(
            f"a run in {resume} cannot be continued in {output}", hint="omit -o, or start a new run"
        )
