"""Add the inferred type and shape to every tensor without one.

::

    %y = Relu(%x)  ->  %y: float32[N, 16, 8, 8] = Relu(%x)
"""

from dataclasses import dataclass
from typing import ClassVar

from acgraph.ir import Model
from acgraph.ir.annotate import annotate, symbolic_shapes
from acgraph.passmanager.base import Pass, PassContext, PassResult


@dataclass(frozen=True)
class InferShapes(Pass):
    """Infer types and shapes and write them into the model; symbolic sizes keep their names."""

    name: ClassVar[str] = "infer-shapes"

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Annotate every node output whose type and shape can be inferred."""
        known = symbolic_shapes(model)
        outputs = {t.name for t in model.graph.outputs}
        count = unknown = 0
        for node in model.graph.nodes:
            for tensor in node.outputs:
                if not tensor.name or tensor.name in outputs:
                    continue
                if tensor.name in known:
                    count += annotate(tensor, known[tensor.name])
                unknown += tensor.shape is None
        return PassResult(
            modified=count > 0,
            statistics={"shapes written": count, "shapes still unknown": unknown},
        )
