"""A network with its analysis, which is computed once for each graph and carried along."""

from dataclasses import dataclass
from functools import cached_property

from acgraph.analysis.cost import Cost, model_cost
from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.analysis.layers import Layer, layers
from acgraph.analysis.reuse import with_weights
from acgraph.ir import Facts, Model


@dataclass(frozen=True, eq=False)
class Network:
    """An immutable model with its analysis, which is computed on first access.

    Attributes:
        model: The graph with its weights.
        twin: The same graph with other weights, whose analysis is reused; None once it was.
    """

    model: Model
    twin: "Network | None" = None

    @cached_property
    def dependency(self) -> DependencyGraph:
        """The coupled sets and fences."""
        twin = self.twin
        shared = None if twin is None else with_weights(twin.dependency, self.model)
        object.__setattr__(self, "twin", None)  # so that its weights can be freed
        return analyse(self.model) if shared is None else shared

    @cached_property
    def facts(self) -> Facts:
        """Shapes and values of its tensors."""
        return self.dependency.facts

    @cached_property
    def layers(self) -> list[Layer]:
        """Every layer, in graph order."""
        return layers(self.model, self.facts)

    @cached_property
    def cost(self) -> Cost:
        """Parameters, MACs and bytes."""
        return model_cost(self.model, facts=self.facts)

    def trained(self, model: Model) -> "Network":
        """Return the same graph with other weights."""
        return Network(model, twin=self.twin or self)
