"""Where tensors come from and who reads them, in terms that hold in both models."""

from collections.abc import Hashable, Mapping

import onnx_graphsurgeon as gs

from acgraph.ir import Model

#: What a tensor is to a reader; None where its producer or reader has no pair.
Source = Hashable | None


class Terms:
    """Says where tensors come from in names of the first model."""

    def __init__(self, model: Model, names: Mapping[str, str]) -> None:
        """Take a model, and for the names of its nodes those of the first model."""
        self._names = names
        self._inputs = {t.name: i for i, t in enumerate(model.graph.inputs)}
        self._outputs = {t.name: i for i, t in enumerate(model.graph.outputs)}

    def source(self, tensor: gs.Tensor) -> Source:
        """Say where a tensor comes from."""
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
        """Say who reads a tensor; None where a reader has no pair."""
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
