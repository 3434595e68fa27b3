"""``acgraph.prune`` and ``acgraph.apply``: cut by magnitude or by a plan, without training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

from acgraph.api.call import checked
from acgraph.api.session_data import Numbers, read_numbers, refuse_without_data
from acgraph.api.types import (
    DataLike,
    ModelLike,
    RateLike,
    ShapesLike,
    read_rate,
    read_shapes,
    read_sized,
)
from acgraph.backends.select import training_backend
from acgraph.config_fields import parse_align, parse_layer_rates
from acgraph.data.in_memory import registered_data
from acgraph.driver.inputs.outputs import keep_outputs
from acgraph.driver.prune.calibration import Calibration, DataRequest, open_calibration
from acgraph.driver.prune.magnitude import prune as cut
from acgraph.driver.prune.result import PruneReport
from acgraph.driver.prune.verdict import is_met, verdict
from acgraph.errors import UsageError
from acgraph.ir import Model, clone_model, make_folder, write_model
from acgraph.ir.load import load_model
from acgraph.pruning.cut_plan import CutPlan
from acgraph.report.notebook import cost_table


@dataclass(frozen=True, repr=False)
class PruneResult:
    """The result of a cut.

    Attributes:
        report: Costs before and after, fences, coupled sets, and the equivalence check.
    """

    report: PruneReport

    @property
    def model(self) -> Model:
        """The compact model."""
        return self.report.model

    @property
    def masked(self) -> Model:
        """The original model, with zeros in place of what was removed."""
        return self.report.masked

    @property
    def plan(self) -> CutPlan:
        """The removed indices of every tensor, by the names of the original model."""
        return self.report.cut_plan

    @property
    def is_met(self) -> bool:
        """Whether at least a tenth of the requested share could be cut."""
        return is_met(self.report)

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write ``model.onnx``, ``masked.onnx`` and ``plan.json`` to a folder.

        Returns:
            The folder.
        """
        target = Path(folder)
        make_folder(target)
        write_model(self.model, target / "model.onnx")
        write_model(self.masked, target / "masked.onnx")
        self.plan.save(target / "plan.json")
        return target

    def _repr_html_(self) -> str:
        return cost_table(verdict(self.report), self.report.before, self.report.after)

    def __repr__(self) -> str:
        return f"PruneResult({verdict(self.report)!r})"


@checked
def prune(
    model: ModelLike,
    *,
    sparsity: float | None = None,
    columns: float | None = None,
    column_pattern: str | None = None,
    column_multiple: int | None = None,
    align: int | str | None = None,
    keep: str | Sequence[str] | None = None,
    layer_rate: Mapping[str, RateLike] | Sequence[str] | str | None = None,
    max_layer_rate: RateLike | None = None,
    plan: CutPlan | str | PathLike[str] | Mapping[str, Any] | None = None,
    importance: Callable[..., Any] | None = None,
    data: DataLike = None,
    mean: Numbers = None,
    std: Numbers = None,
    scale: float | None = None,
    target_rate: RateLike | None = None,
    metric: str | None = None,
    seed: int | None = None,
    allow_inexact: bool = False,
    allow_slower: bool = False,
    runtime: Literal["ort", "ort-mobile"] = "ort-mobile",
    input_shape: ShapesLike | None = None,
    outputs: Sequence[str] | str | None = None,
) -> PruneResult:
    """Remove the filters and columns of smallest magnitude, and check the result for equivalence.

    With calibration data, the removed filters are instead those whose removal changes the outputs
    of the following layers least, and every layer is then refitted, by least squares and in
    topological order, to its outputs in the original model. Nothing is trained.

    Args:
        model: A path, the bytes of a file, an ``onnx.ModelProto`` or an ``acgraph.Model``, which
            is not changed.
        sparsity: Share of the coupled sets to remove, from 0 to below 1; 0.5 by default.
        columns: Share of every layer's columns to remove, from 0 to below 1; 0 by default.
        column_pattern: Which columns are removed together; ``free`` by default.
        column_multiple: Keep a multiple of this many channels at each kernel position.
        align: Keep a multiple of this many filters; ``auto`` measures a good multiple.
        keep: Patterns of layers that are left whole: globs such as ``head*``, or regular
            expressions after ``re:``, over the names of nodes and of their weights.
        layer_rate: Upper bounds, by pattern, on the rate that the filters of a layer, and its
            columns, are cut by, for instance ``{"head*": 1.5}``.
        max_layer_rate: The same bound for every layer.
        plan: The cut to repeat, in place of a choice by magnitude; see :func:`apply`.
        importance: Ranks filters in place of their magnitude. It is called with the name of a
            weight and its values ``[filters, ...]``, and returns a score for each filter; those
            with the lowest scores are removed.
        data: Calibration data, as for ``compress``; labels are not used. A few hundred examples
            are enough.
        mean: Mean of the image pixels after ``scale``: one value, or one for each channel.
        std: Standard deviation of the image pixels, likewise.
        scale: Factor that pixels are multiplied by first.
        target_rate: Size before / size after, for instance ``2`` or ``"2x"``, in place of
            ``sparsity``; the data then decides how much of each family is removed.
        metric: The quantity that this rate applies to: ``params`` (the default) or ``macs``.
        seed: Seed of the random sampling of the data.
        allow_inexact: Also cut across normalisation over channels, where the compact model is not
            equivalent to the masked one.
        allow_slower: Store each layer with removed columns in its smallest form, without timing.
        runtime: The runtime in which compact forms are timed to choose among them.
        input_shape: Shapes by input name, for inputs with dynamic dimensions.
        outputs: The outputs to keep; the others, and the nodes that only they need, are removed
            first.

    Returns:
        The compact and the masked model, the plan of the cut and the report.

    Raises:
        UsageError: An option is wrong, or a pattern matches no layer.
        ImportModelError: The model is not valid.
        VerifyError: The compact model is not equivalent to the masked one.
    """
    given = {
        "sparsity": sparsity, "columns": columns, "column_pattern": column_pattern,
        "column_multiple": column_multiple, "align": align, "keep": keep or None,
        "layer_rate": layer_rate or None, "max_layer_rate": max_layer_rate,
        "importance": importance,
    }  # fmt: skip
    by_data = {
        "mean": mean, "std": std, "scale": scale, "target-rate": target_rate, "metric": metric,
        "seed": seed,
    }  # fmt: skip
    if data is None:
        refuse_without_data(**by_data)
    else:
        _check_beside_data(columns, importance, sparsity, target_rate, metric)
    if plan is not None:
        given["data"] = data
        _refuse_beside_plan([name for name, value in given.items() if value is not None])
    shares = (0.5 if sparsity is None else sparsity), columns or 0.0
    _check_shares(*shares)
    _check_fit(*shares, column_pattern, column_multiple, align, allow_slower=allow_slower)
    rates, most = _layer_rates(layer_rate)
    most = most if max_layer_rate is None else read_rate(max_layer_rate).value
    opened, calibration = _opened(
        _with_outputs(model, outputs), input_shape, data, mean=mean, std=std, scale=scale, seed=seed
    )
    return PruneResult(
        cut(
            opened,
            calibration=calibration,
            target_rate=None if target_rate is None else read_rate(target_rate).value,
            metric="macs" if metric == "macs" else "params",
            sparsity=shares[0],
            columns=shares[1],
            column_pattern=column_pattern or "free",
            column_multiple=column_multiple or 1,
            align=_align(align),
            keep=[keep] if isinstance(keep, str) else keep or (),
            layer_rate=rates,
            max_layer_rate=most,
            plan=None if plan is None else _plan(plan),
            importance=importance,
            allow_inexact=allow_inexact,
            allow_slower=allow_slower,
            runtime=runtime,
        )
    )


def _with_outputs(model: ModelLike, outputs: Sequence[str] | str | None) -> ModelLike:
    """Return a copy of a model with only these outputs; the model itself if all are kept."""
    names = [outputs] if isinstance(outputs, str) else outputs or ()
    if not names:
        return model
    copy = clone_model(load_model(model))
    keep_outputs(copy, names)
    return copy


def _opened(
    model: ModelLike,
    input_shape: ShapesLike | None,
    data: DataLike,
    *,
    mean: Numbers,
    std: Numbers,
    scale: float | None,
    seed: int | None,
) -> tuple[Model, Calibration | None]:
    """Read a model, and its data if there is any, which then determines the input sizes."""
    if data is None:
        return read_sized(model, input_shape), None
    opened = load_model(model)
    with registered_data({"data": data}) as specs:
        request = DataRequest(
            spec=specs["data"],
            mean=read_numbers("mean", mean),
            std=read_numbers("std", std),
            scale=scale,
            input_shape=read_shapes(input_shape),
            seed=seed or 0,
        )
        return opened, open_calibration(opened, request, training_backend())


def _check_beside_data(
    columns: float | None,
    importance: object,
    sparsity: float | None,
    target_rate: RateLike | None,
    metric: str | None,
) -> None:
    """Reject options that cannot be combined with calibration data.

    Raises:
        UsageError: One of them was passed.
    """
    if columns:
        raise UsageError(
            "--columns is given with --data, which only cuts filters",
            hint="omit one of them; acgraph compress also cuts columns by data",
        )
    if importance is not None:
        raise UsageError(
            "importance is given with data, and both rank the filters", hint="omit one of them"
        )
    if sparsity is not None and target_rate is not None:
        raise UsageError("both --sparsity and --target-rate are given", hint="omit one of them")
    if metric is not None and target_rate is None:
        raise UsageError(
            "--metric is given without --target-rate", hint="use for example --target-rate 2x"
        )
    if metric not in (None, "params", "macs"):
        raise UsageError(f"--metric is {metric}", hint="use params or macs")


@checked
def apply(
    model: ModelLike,
    plan: CutPlan | str | PathLike[str] | Mapping[str, Any],
    *,
    input_shape: ShapesLike | None = None,
) -> PruneResult:
    """Cut a model by a plan: the plan of an earlier cut, or one that was written by hand.

    Applied to the original model, the plan of a :class:`PruneResult` yields the same compact model
    again. The plan of ``compress`` yields the same structure, but not the trained weights.

    Args:
        model: The model that the plan was made for, or one whose layers have the same sizes.
        plan: A plan, the path of a ``plan.json``, or its content.
        input_shape: Shapes by input name, for inputs with dynamic dimensions.

    Returns:
        The compact and the masked model, the plan and the report.

    Raises:
        UsageError: The plan does not fit the model.
    """
    return PruneResult(cut(read_sized(model, input_shape), plan=_plan(plan)))


def _plan(plan: CutPlan | str | PathLike[str] | Mapping[str, Any]) -> CutPlan:
    if isinstance(plan, CutPlan):
        return plan
    if isinstance(plan, Mapping):
        return CutPlan.from_values(plan)
    return CutPlan.load(fspath(plan))


def _refuse_beside_plan(given: Sequence[str]) -> None:
    if given:
        raise UsageError(
            f"{given[0]} is given with a plan, which already lists what is cut",
            hint="omit one of them",
        )


def _check_shares(sparsity: float, columns: float) -> None:
    for name, share in (("sparsity", sparsity), ("columns", columns)):
        if not 0 <= share < 1:
            raise UsageError(
                f"--{name} is {share:g}", hint="give a share of at least 0 and below 1"
            )


def _check_fit(
    sparsity: float,
    columns: float,
    pattern: str | None,
    multiple: int | None,
    align: int | str | None,
    *,
    allow_slower: bool,
) -> None:
    for name, is_given in (
        ("--column-multiple", multiple is not None),
        ("--column-pattern", pattern is not None),
        ("--allow-slower", allow_slower),
    ):
        if is_given and not columns:
            raise UsageError(
                f"{name} is given, but no columns are cut", hint="use for example --columns 0.5"
            )
    if align is not None and not sparsity:
        raise UsageError(
            "--align is given, but no filters are cut",
            hint="use for example --sparsity 0.5, or omit --align",
        )


def _layer_rates(
    value: Mapping[str, RateLike] | Sequence[str] | str | None,
) -> tuple[dict[str, float], float | None]:
    """Read rates by pattern, and a rate without a pattern, which applies to all layers."""
    if isinstance(value, Mapping):
        return {pattern: read_rate(rate).value for pattern, rate in value.items()}, None
    rates, most = parse_layer_rates([value] if isinstance(value, str) else value or ())
    found = {pattern: rate.value for pattern, rate in rates.items()}
    return found, None if most is None else most.value


def _align(value: int | str | None) -> int | Literal["auto"]:
    try:
        step: int | Literal["auto"] = parse_align(value or 1)
    except ValueError as error:
        raise UsageError(f"--align is {value}", hint=f"it {error}") from None
    return step
