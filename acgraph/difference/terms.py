"""Identify producers and consumers of tensors by names that are valid in both models."""

from collections.abc import Hashable, Mapping

import onnx_graphsurgeon as gs

from acgraph.ir import Model

#: Identifies a producer or consumer of a tensor; None where it is unpaired.
Source = Hashable | None


class Terms:
    """Identifies producers and consumers of tensors by node names of the first model."""

    def __init__(self, model: Model, names: Mapping[str, str]) -> None:
        """Initialise.

        Args:
            model: One of the models.
            names: Names of nodes in the first model, by names in this one.
        """
        self._names = names
        self._inputs = {t.name: i for i, t in enumerate(model.graph.inputs)}
        self._outputs = {t.name: i for i, t in enumerate(model.graph.outputs)}

    def source(self, tensor: gs.Tensor) -> Source:
        """Return the source of a tensor."""
        if not tensor.name:
            return "absent"
        if isinstance(tensor, gs.Constant):
            return "constant"
        if tensor.name in self._inputs:
            return "input", self._inputs[tensor.name]
        if not tensor.inputs:
            return "outer", tensor.name
        return self._place(tensor.inputs[0], tensor, tensor.inputs[0].outputs)

    def readers(self, tensor: gs.Tensor) -> frozenset[Source] | None:
        """Return the consumers of a tensor; None where one is unpaired."""
        found: list[Source] = [
            self._place(reader, tensor, reader.inputs)
            for reader in tensor.outputs
            if any(t is tensor for t in reader.inputs)
        ]
        if None in found:
            return None
        if tensor.name in self._outputs:
            found.append(("output", self._outputs[tensor.name]))
        return frozenset(found)

    def _place(self, node: gs.Node, tensor: gs.Tensor, among: list[gs.Tensor]) -> Source:
        name = self._names.get(node.name)
        if name is None:
            return None
        return name, next(i for i, t in enumerate(among) if t is tensor)
