"""Passes of acgraph as passes of onnx-ir, and the other way round.

Both protocols have the same parts: what a pass requires, what it does, what it ensures, and whether
it changed the model. onnx-ir is no dependency of acgraph: it is imported where an adapter is made.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from acgraph.errors import PassError, UsageError
from acgraph.ir import Model, model_from_proto, proto_from_model
from acgraph.passmanager.base import Pass, PassContext, PassResult

if TYPE_CHECKING:
    import onnx_ir


def to_onnx_ir(one: Pass, context: PassContext | None = None) -> "onnx_ir.passes.FunctionalPass":
    """Make a pass of onnx-ir of one of acgraph; it returns a new model.

    Args:
        one: The pass.
        context: What it may use beside the model.

    Raises:
        UsageError: onnx-ir is not installed.
    """
    ir = _onnx_ir()
    given = context or PassContext()

    class Adapted(ir.passes.FunctionalPass):  # type: ignore[misc,name-defined]
        """A pass of acgraph."""

        def call(self, model: "onnx_ir.Model") -> "onnx_ir.passes.PassResult":
            ours = model_from_proto(ir.to_proto(model))
            one.requires(ours, given)
            result = one.run(ours, given)
            one.ensures(ours, given)
            changed = ir.from_proto(proto_from_model(ours))
            made: onnx_ir.passes.PassResult
            made = ir.passes.PassResult(changed, modified=result.modified)
            return made

    Adapted.__name__ = Adapted.__qualname__ = type(one).__name__
    adapted: onnx_ir.passes.FunctionalPass = Adapted()
    return adapted


def from_onnx_ir(one: "onnx_ir.passes.PassBase") -> Pass:
    """Make a pass of acgraph of one of onnx-ir, for a pass manager of acgraph.

    Raises:
        UsageError: onnx-ir is not installed.
    """
    _onnx_ir()
    return _FromOnnxIr(one)


@dataclass(frozen=True)
class _FromOnnxIr(Pass):
    """A pass of onnx-ir."""

    name: ClassVar[str] = "onnx-ir"

    adapted: "onnx_ir.passes.PassBase | None" = None

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Run it on a copy, and take over the graph that it returns.

        Raises:
            PassError: the pass failed.
        """
        ir = _onnx_ir()
        assert self.adapted is not None
        try:
            result = self.adapted(ir.from_proto(proto_from_model(model)))
        except (ir.passes.PassError, ir.passes.InvariantError) as error:
            raise PassError(f"{type(self.adapted).__name__}: {error}") from error
        made = model_from_proto(ir.to_proto(result.model))
        model.graph, model.originals = made.graph, made.originals
        model.captured, model.metadata = made.captured, made.metadata
        return PassResult(modified=bool(result.modified))


def _onnx_ir() -> Any:
    """Import onnx-ir, which has types of its own only where it is installed."""
    try:
        import onnx_ir
        import onnx_ir.passes
    except ImportError as error:
        raise UsageError(
            "onnx-ir is not installed", hint="pip install onnx-ir, to use its passes"
        ) from error
    return onnx_ir
