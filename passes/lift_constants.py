"""Make initializers of Constant nodes, so that weights are found and trained wherever they lie."""

from dataclasses import dataclass
from typing import ClassVar

from acgraph.ir import Model
from acgraph.ir.constants import lift_constants
from acgraph.passmanager.base import Pass, PassContext, PassResult


@dataclass(frozen=True)
class LiftConstants(Pass):
    """Make initializers of Constant nodes; the values keep their names."""

    name: ClassVar[str] = "lift-constants"

    def run(self, model: Model, context: PassContext) -> PassResult:
        """Lift all but those that a subgraph reads or the model returns."""
        before = len(model.graph.nodes)
        lift_constants(model)
        lifted = before - len(model.graph.nodes)
        return PassResult(modified=lifted > 0, statistics={"lifted": lifted})
