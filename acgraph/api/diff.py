"""``acgraph.diff``: the changes from one model to another."""

from dataclasses import dataclass

from acgraph.analysis.dependency import analyse
from acgraph.api.call import checked
from acgraph.api.types import ModelLike, ShapesLike, read_shapes, resolve_input_sizes
from acgraph.difference import (
    GraphDiff,
    diff_models,
    json_from_diff,
    model_explorer_from_diff,
    text_from_diff,
)
from acgraph.ir import Model
from acgraph.ir.load import load_model
from acgraph.report import render_diff_page
from acgraph.report.diff_page import summary_lines


@dataclass(frozen=True, repr=False)
class DiffResult:
    """The changes from one model to another.

    Attributes:
        changes: All changes, by kind.
        before: The first model.
        after: The second model.
    """

    changes: GraphDiff
    before: Model
    after: Model

    @property
    def is_empty(self) -> bool:
        """Whether the models are equal except for the names of nodes."""
        return self.changes.is_empty

    def to_text(self) -> str:
        """Return the changes as text for a terminal."""
        return text_from_diff(self.changes, self.before.source, self.after.source)

    def to_json(self) -> str:
        """Return the changes as JSON."""
        return json_from_diff(self.changes)

    def to_html(self) -> str:
        """Return an HTML page that shows both models side by side."""
        return render_diff_page(
            self.changes,
            self.before,
            self.after,
            before=self.before.source,
            after=self.after.source,
            dependency=analyse(self.before),
        )

    def to_model_explorer(self) -> str:
        """Return node data for Model Explorer."""
        return model_explorer_from_diff(self.changes, self.before, self.after)

    def summary(self) -> list[str]:
        """Return the number of changes in a few lines of text."""
        return summary_lines(self.changes, self.before, self.after)

    def __repr__(self) -> str:
        return f"DiffResult({'no difference' if self.is_empty else self.summary()[0]!r})"


@checked
def diff(
    before: ModelLike, after: ModelLike, *, input_shape: ShapesLike | None = None
) -> DiffResult:
    """Compare two models.

    Args:
        before: The first model: a path, bytes, an ``onnx.ModelProto`` or an ``acgraph.Model``.
        after: The second model, likewise.
        input_shape: Shapes by input name, for inputs with dynamic dimensions.

    Returns:
        The changes.

    Raises:
        UsageError: A named input exists in neither model, or a shape contradicts one of them.
        ImportModelError: One of them is not a valid ONNX model.
    """
    shapes = read_shapes(input_shape)
    models = load_model(before), load_model(after)
    first, second = ({tensor.name for tensor in model.graph.inputs} for model in models)
    own = {k: v for k, v in shapes.items() if k in first or k not in second}
    other = {k: v for k, v in shapes.items() if k in second or not k}
    for model, stated in zip(models, (own, other), strict=True):
        resolve_input_sizes(model, stated)
    return DiffResult(diff_models(*models), *models)
