"""The network that is learnt from."""

from collections.abc import Collection
from weakref import WeakKeyDictionary

import torch

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.losses import Outputs
from acgraph.backends.torch.modes import PLAIN, Mode, run_module
from acgraph.data import Dataset, Indices, iterate_batches
from acgraph.ir import Model

#: What a teacher remembers of evaluations in all; beyond this it is asked again.
MAX_BYTES = 1 << 28


class Teacher:
    """Runs a network in ``eval()`` without gradients, and remembers what it said.

    Attributes:
        module: The network.
    """

    def __init__(self, model: Model, device: torch.device, batch_size: int) -> None:
        self.module = GraphModule(model).to(device).eval().requires_grad_(False)
        self._device = device
        self._batch_size = batch_size
        self._said: WeakKeyDictionary[Dataset, Outputs] = WeakKeyDictionary()
        self._answers: WeakKeyDictionary[Dataset, dict[tuple[int | None, int], Outputs]]
        self._answers = WeakKeyDictionary()
        self._bytes = 0

    @torch.no_grad()
    def __call__(self, x: Inputs, mode: Mode, watch: Collection[str] = ()) -> Outputs:
        """Return the teacher's outputs for a batch, and behind them the named tensors."""
        return run_module(self.module.watching(watch), x, mode)

    def recall(self, dataset: Dataset, indices: Indices, mode: Mode) -> Outputs:
        """Return the teacher's outputs for examples of a dataset, which it runs through once."""
        said = self._said.get(dataset)
        if said is None:
            said = self._run_through(dataset, mode)
            self._said[dataset] = said
        rows = torch.from_numpy(indices)
        return tuple(output[rows].to(self._device) for output in said)

    def answer(self, dataset: Dataset, limit: int | None, number: int, x: Inputs) -> Outputs:
        """Return the teacher's outputs in float32 for batch ``number`` of an evaluation.

        A search evaluates on the same images again and again, and its candidates are smaller than
        the teacher: the second time the answer is remembered.
        """
        known = self._answers.setdefault(dataset, {})
        if (limit, number) in known:
            return tuple(output.to(self._device) for output in known[limit, number])
        outputs = self(x, PLAIN)
        size = sum(output.numel() * output.element_size() for output in outputs)
        if self._bytes + size <= MAX_BYTES:
            self._bytes += size
            known[limit, number] = tuple(output.cpu() for output in outputs)
        return outputs

    def _run_through(self, dataset: Dataset, mode: Mode) -> Outputs:
        parts = []
        for batch in iterate_batches(dataset, self._batch_size):
            x = Inputs.of(batch, self.module.input_names, self._device)
            parts.append(tuple(output.cpu() for output in self(x, mode)))
        return tuple(torch.cat(outputs) for outputs in zip(*parts, strict=True))
