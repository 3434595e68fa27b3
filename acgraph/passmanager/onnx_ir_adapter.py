"""Adapt passes of acgraph to onnx-ir, and passes of onnx-ir to acgraph.

Both protocols have the same parts: preconditions, the transformation, postconditions, and whether
the model changed. onnx-ir is no dependency of acgraph: it is imported when an adapter is created.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from acgraph.errors import PassError, UsageError
from acgraph.ir import Model, model_from_proto, proto_from_model
from acgraph.passmanager.base import Pass, PassContext, PassResult

if TYPE_CHECKING:
    import onnx_ir


def to_onnx_ir(one: Pass, context: PassContext | None = None) -> "onnx_ir.passes.FunctionalPass":
    """Wrap a pass of acgraph as a functional pass of onnx-ir, which returns a new model.

    Args:
        one: The pass.
        context: Context of the pass; the default one where it is None.

    Raises:
        UsageError: onnx-ir is not installed.
    """
    ir = _onnx_ir()
    used = context or PassContext()

    class Adapted(ir.passes.FunctionalPass):  # type: ignore[misc,name-defined]
        """A pass of acgraph."""

        def call(self, model: "onnx_ir.Model") -> "onnx_ir.passes.PassResult":
            ours = model_from_proto(ir.to_proto(model))
            one.requires(ours, used)
            result = one.run(ours, used)
            one.ensures(ours, used)
            changed = ir.from_proto(proto_from_model(ours))
            adapted_result: onnx_ir.passes.PassResult
            adapted_result = ir.passes.PassResult(changed, modified=result.modified)
            return adapted_result

    Adapted.__name__ = Adapted.__qualname__ = type(one).__name__
    adapted: onnx_ir.passes.FunctionalPass = Adapted()
    return adapted


def from_onnx_ir(one: "onnx_ir.passes.PassBase") -> Pass:
    """Wrap a pass of onnx-ir as a pass of acgraph, for the pass manager.

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
        """Run the pass on a copy, and replace the model's graph by the result.

        Raises:
            PassError: The pass failed.
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
    """Import onnx-ir; typed as Any, because it is an optional dependency."""
    try:
        import onnx_ir
        import onnx_ir.passes
    except ImportError as error:
        raise UsageError(
            "onnx-ir is not installed", hint="pip install onnx-ir, to use its passes"
        ) from error
    return onnx_ir
