"""``acgraph.diff``: the changes from one model to another."""

from dataclasses import dataclass
from os import PathLike

from acgraph.analysis.dependency import analyse
from acgraph.api.call import checked
from acgraph.api.types import ModelLike, ShapesLike, read_shapes, resolve_input_sizes
from acgraph.diagnostics import printable
from acgraph.difference import (
    Explained,
    GraphDiff,
    RunDifference,
    diff_models,
    explain_by_plan,
    json_from_diff,
    model_explorer_from_diff,
    pair_layers,
    run_both,
    text_from_diff,
)
from acgraph.ir import Model
from acgraph.ir.load import load_model
from acgraph.pruning.cut_plan import CutPlan
from acgraph.report import render_diff_page
from acgraph.report.diff_page import layer_change_of, summary_lines
from acgraph.report.notebook import cost_table


@dataclass(frozen=True, repr=False)
class DiffResult:
    """The changes from one model to another.

    Attributes:
        changes: All changes, by kind.
        before: The first model.
        after: The second model.
        run: The activations of both models on the same inputs, if they were run.
        explained: What the plan explains, if one was given.
    """

    changes: GraphDiff
    before: Model
    after: Model
    run: RunDifference | None = None
    explained: Explained | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the models are equal except for the names of nodes."""
        return self.changes.is_empty

    def to_text(self) -> str:
        """Return the changes as text for a terminal."""
        parts = [part for part in (self.explained, self.run) if part is not None]
        lines = [printable(line) for part in parts for line in part.lines()]
        text = text_from_diff(self.changes, self.before.source, self.after.source)
        return "".join([text, *(f"{line}\n" for line in lines)])

    def to_json(self) -> str:
        """Return the changes as JSON."""
        return json_from_diff(self.changes, self.run, self.explained)

    def to_html(self) -> str:
        """Return an HTML page that shows both models side by side."""
        return render_diff_page(
            self.changes,
            self.before,
            self.after,
            before=self.before.source,
            after=self.after.source,
            dependency=analyse(self.before),
            run=self.run,
            explained=self.explained,
        )

    def to_model_explorer(self) -> str:
        """Return node data for Model Explorer."""
        return model_explorer_from_diff(self.changes, self.before, self.after)

    def summary(self) -> list[str]:
        """Return the number of changes in a few lines of text."""
        lines = summary_lines(self.changes, self.before, self.after)
        if self.explained is not None:
            lines += self.explained.lines()
        return lines if self.run is None else [*lines, self.run.lines()[0]]

    def _repr_html_(self) -> str:
        old, new = self.changes.cost_before, self.changes.cost_after
        pairs = pair_layers(self.changes, self.before, self.after)
        layers = [layer_change_of(pair) for pair in pairs if pair.changes]
        return cost_table(self.summary()[0], old, new, layers)

    def __repr__(self) -> str:
        return f"DiffResult({'no difference' if self.is_empty else self.summary()[0]!r})"


@checked
def diff(
    before: ModelLike,
    after: ModelLike,
    *,
    input_shape: ShapesLike | None = None,
    run: bool = False,
    plan: CutPlan | str | PathLike[str] | None = None,
) -> DiffResult:
    """Compare two models.

    Args:
        before: The first model: a path, bytes, an ``onnx.ModelProto`` or an ``acgraph.Model``.
        after: The second model, likewise.
        input_shape: Shapes by input name, for inputs with dynamic dimensions.
        run: Run both models on the same random inputs, and compare their activations.
        plan: The plan of the cut from the first model to the second, or its file: check that it
            explains every resized constant.

    Returns:
        The changes.

    Raises:
        UsageError: A named input exists in neither model, a shape contradicts one of them, the
            models are to be run and have other inputs, or the file is not a plan.
        ImportModelError: One of them is not a valid ONNX model.
        BackendError: One of them is to be run, but cannot be.
    """
    shapes = read_shapes(input_shape)
    models = load_model(before), load_model(after)
    first, second = ({tensor.name for tensor in model.graph.inputs} for model in models)
    own = {k: v for k, v in shapes.items() if k in first or k not in second}
    other = {k: v for k, v in shapes.items() if k in second or not k}
    for model, stated in zip(models, (own, other), strict=True):
        resolve_input_sizes(model, stated)
    changes = diff_models(*models)
    cut = plan if plan is None or isinstance(plan, CutPlan) else CutPlan.load(plan)
    return DiffResult(
        changes,
        *models,
        run=run_both(*models, changes) if run else None,
        explained=None if cut is None else explain_by_plan(*models, changes, cut),
    )
