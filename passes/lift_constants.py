"""Turn Constant nodes into initializers, so that their weights can be trained."""

from dataclasses import dataclass
from typing import ClassVar

from acgraph.ir import Model
from acgraph.ir.constants import lift_constants
from acgraph.passmanager.base import Pass, PassContext, PassResult


@dataclass(frozen=True)
class LiftConstants(Pass):
    """Turn Constant nodes into initializers; the values keep their names."""

    name: ClassVar[str] = "lift-constants"

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Lift every Constant node whose output is not a graph output or read by a subgraph."""
        before = len(model.graph.nodes)
        lift_constants(model)
        lifted = before - len(model.graph.nodes)
        return PassResult(modified=lifted > 0, statistics={"lifted": lifted})
