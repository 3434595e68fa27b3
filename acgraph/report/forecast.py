"""The forecast of ``compress --dry-run``: what a run would do and need, as JSON and as text."""

from typing import Literal

from pydantic import Field
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from acgraph.diagnostics import counted, printable
from acgraph.pruning.rate import format_rate
from acgraph.report.schema import Measure, ModelInfo
from acgraph.report.schema_base import Part
from acgraph.report.schema_cost import OutputTaskChoice, Rates, Side
from acgraph.report.schema_layers import Fence, LayerChange, Obstacle


class PlannedSchedule(Part):
    """How the training is divided over the stages.

    Attributes:
        text: The schedule in one line.
        rates: Rate to reach in each round; empty if the highest rate is looked for.
        attempts: Largest number of rates that are tried, if the highest rate is looked for.
        round_epochs: Epochs of one round, or of one attempt.
        fine_tuning_epochs: Epochs of the fine-tuning; None if it runs until the time budget ends.
    """

    text: str
    rates: tuple[float, ...]
    attempts: int
    round_epochs: float
    fine_tuning_epochs: float | None


class PlannedTime(Part):
    """Estimated duration of a run, without reading, writing and measuring.

    Attributes:
        text: The estimate in one line.
        train_s: Seconds of the training, at most.
        search_s: Seconds of the searches.
    """

    text: str
    train_s: float
    search_s: float


class Forecast(Part):
    """What a run of ``compress`` would do; ``to_json`` serialises it.

    The costs after the cut and the layers are those of a first cut by magnitude. A run chooses the
    rates of the layers by a search.

    Attributes:
        schema_version: Version of the schema; its JSON key is ``schema``.
        model: The original model.
        output: The folder to which the run would write its results.
        measure: The quantity by which the run would evaluate networks, as in ``report.json``.
        tasks: The task of each output.
        baseline: That quantity for the original, from 0 to 1.
        metric: The cost that the target rate applies to.
        target_rate: The requested rate; None if the highest rate is looked for.
        schedule: The division of the training over the stages.
        time: Estimated duration; None with a time budget, or if nothing is timed.
        time_budget_s: The time budget in seconds, if there is one.
        memory_bytes: Estimated peak memory.
        before: Costs of the original.
        after: Costs after the first cut.
        rate: The rates between them.
        layers: All layers before and after the first cut.
        fences: All nodes that prevent a cut, by their share of the weights, largest first.
        obstacles: Obstacles that prevent most weights from being cut; the JSON key is ``holding``.
        warnings: Warnings about the inputs.
        seconds: Duration of the dry run.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    model: ModelInfo
    output: str
    measure: Measure
    tasks: tuple[OutputTaskChoice, ...] = ()
    baseline: float
    metric: Literal["params", "macs", "size", "latency"]
    target_rate: float | None
    schedule: PlannedSchedule
    time: PlannedTime | None
    time_budget_s: float | None
    memory_bytes: int
    before: Side
    after: Side
    rate: Rates
    layers: tuple[LayerChange, ...] = ()
    fences: tuple[Fence, ...] = ()
    obstacles: tuple[Obstacle, ...] = Field(
        default=(), validation_alias="holding", serialization_alias="holding"
    )
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    def to_json(self) -> str:
        """Return the forecast as JSON."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


def render_forecast(forecast: Forecast) -> RenderableType:
    """Render a forecast for a terminal."""
    lines = [f"plan: {forecast.schedule.text}"]
    if forecast.time is not None:
        lines.append(f"time: {forecast.time.text}")
    if forecast.time_budget_s is not None:
        lines.append(f"time: limited to {forecast.time_budget_s:.0f} s")
    lines.append(f"memory: at most about {forecast.memory_bytes / 2**30:.2g} GiB")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("layer")
    for name in ("operator", "filters", "columns", "rate"):
        table.add_column(name, justify="left" if name == "operator" else "right")
    for layer in forecast.layers:
        sizes = [f"{before:,} -> {after:,}" for before, after in (layer.filters, layer.columns)]
        table.add_row(printable(layer.name), layer.op_type, *sizes, _rate(layer))
    table.add_row("all", "", "", "", format_rate(forecast.rate.params), style="bold")
    fences = counted(len(forecast.fences), "fence")
    return Group(
        *(Text(line) for line in lines),
        Text(),
        Text("rates of a first cut by magnitude; the run chooses them by a search:"),
        table,
        *([Text(f"{fences}: acgraph inspect lists them")] if forecast.fences else []),
        *(Text(f"warning: {printable(line)}", style="yellow") for line in forecast.warnings),
        Text(),
        Text(f"nothing was written; the run would write to {printable(forecast.output)}"),
    )


def _rate(layer: LayerChange) -> str:
    """Return the rate of the weights of a layer."""
    before, after = (
        filters * columns for filters, columns in zip(layer.filters, layer.columns, strict=True)
    )
    return format_rate(before / after) if after else "removed"
