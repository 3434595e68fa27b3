"""Check a model against a committed budget: ``acgraph check``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from acgraph.api.measure import MeasureResult, measure
from acgraph.backends.ort.latency import compare_latency
from acgraph.config_file import OptionsFile, read_options
from acgraph.diagnostics import Location
from acgraph.errors import UsageError

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Budget(BaseModel):
    """What a model may cost, as a YAML file of these names; what is not named has no limit.

    Attributes:
        max_params: Largest number of elements of all constants.
        max_macs: Largest number of multiply-accumulates of one forward pass.
        max_bytes: Largest size of the file in bytes.
        max_latency_ratio: Largest latency, as a multiple of that of ``against``. A ratio depends
            less on the machine than milliseconds do.
        min_accuracy: Smallest accuracy on ``data``, from 0 to 1.
        against: The model that the latency is compared with; the path is relative to the budget.
        data: Labelled examples, as for ``acgraph measure --data``.
        runtime: The runtime that the latency is measured in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_params: _Positive | None = None
    max_macs: _Positive | None = None
    max_bytes: _Positive | None = None
    max_latency_ratio: _Positive | None = None
    min_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    against: str | None = None
    data: str | None = None
    runtime: Literal["ort", "ort-mobile"] = "ort-mobile"

    @pydantic.model_validator(mode="after")
    def _is_complete(self) -> Self:
        limits = (
            self.max_params, self.max_macs, self.max_bytes, self.max_latency_ratio,
            self.min_accuracy,
        )  # fmt: skip
        if all(limit is None for limit in limits):
            raise ValueError("the budget has no limit")
        return self


@dataclass(frozen=True, slots=True)
class Finding:
    """One limit of a budget, and what the model has.

    Attributes:
        name: The name of the limit, as in the file.
        limit: The limit.
        value: What the model has; None if it is unknown.
        is_met: Whether the model keeps the limit.
        line: The line of the limit in the file of the budget; 0 if unknown.
    """

    name: str
    limit: float
    value: float | None
    is_met: bool
    line: int

    def __str__(self) -> str:
        kind, _, what = self.name.partition("_")
        shown = "unknown" if self.value is None else f"{self.value:,.6g}"
        word = "at most" if kind == "max" else "at least"
        verdict = "kept" if self.is_met else "BROKEN"
        return f"{what.replace('_', ' ')}: {shown}, {word} {self.limit:,.6g}: {verdict}"


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """The result of a check.

    Attributes:
        model: Path of the model.
        budget: Path of the file of the budget.
        findings: A finding for every limit.
    """

    model: str
    budget: str
    findings: tuple[Finding, ...]

    @property
    def is_met(self) -> bool:
        """Whether the model keeps every limit."""
        return all(finding.is_met for finding in self.findings)


def check_budget(
    model: str, budget: Path, *, against: str | None = None, data: str | None = None
) -> BudgetResult:
    """Measure a model, and compare it with a budget.

    Args:
        model: Path of an ONNX file.
        budget: A YAML file with the fields of ``Budget``.
        against: Replaces that of the budget.
        data: Replaces that of the budget.

    Raises:
        UsageError: The budget is not valid, or needs a model or data that are not given.
        AcgraphError: The model cannot be measured.
    """
    source = read_options(budget)
    limits = _parsed(source)
    other, examples = against or _beside(limits.against, budget), data or limits.data
    if limits.max_latency_ratio is not None and other is None:
        raise UsageError(
            "the budget limits the latency ratio, but names no model to compare with",
            location=source.place("max_latency_ratio"),
            hint="add 'against: original.onnx', or use --against",
        )
    if limits.min_accuracy is not None and examples is None:
        raise UsageError(
            "the budget limits the accuracy, but names no data",
            location=source.place("min_accuracy"),
            hint="add 'data: test.npz', or use --data",
        )
    found = measure(
        model,
        other if limits.max_latency_ratio is not None else None,
        runtime=limits.runtime,
        data=examples if limits.min_accuracy is not None else None,
        runs=None if limits.max_latency_ratio is not None else 1,
    )
    return BudgetResult(model, str(budget), tuple(_findings(limits, found, source)))


def _findings(limits: Budget, found: MeasureResult, source: OptionsFile) -> Iterator[Finding]:
    cost, ratio = found.model.cost, None
    if found.against is not None:
        ratio = 1 / compare_latency(found.against.latency, found.model.latency).median
    values: dict[str, float | None] = {
        "max_params": None if cost is None else cost.params,
        "max_macs": None if cost is None or cost.unknown else cost.macs,
        "max_bytes": Path(found.model.path).stat().st_size if cost is None else cost.bytes,
        "max_latency_ratio": ratio,
        "min_accuracy": found.model.accuracy,
    }
    for name, value in values.items():
        limit = getattr(limits, name)
        if limit is None:
            continue
        is_met = value is not None and (value >= limit if name[:3] == "min" else value <= limit)
        yield Finding(name, limit, value, is_met, source.lines.get(name, 0))


def _parsed(source: OptionsFile) -> Budget:
    try:
        return Budget.model_validate(source.values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        known = ", ".join(Budget.model_fields)
        place = source.place(name)
        raise UsageError(
            f"{name}: {message}" if name else message,
            location=place if str(place) else Location(model=source.name),
            hint=f"the names of a budget are {known}",
        ) from error


def _beside(path: str | None, budget: Path) -> str | None:
    return None if path is None else str(budget.parent / path)
