"""The teacher of knowledge distillation."""

from collections.abc import Collection
from weakref import WeakKeyDictionary

import torch

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.losses import Outputs
from acgraph.backends.torch.modes import PLAIN, Mode, run_module
from acgraph.data import Dataset, Indices, iterate_batches
from acgraph.ir import Model

#: Bound of the bytes of cached outputs of evaluations; further outputs are not cached.
MAX_BYTES = 1 << 28


class Teacher:
    """Runs a network in ``eval()`` without gradients, and can cache its outputs.

    Args:
        model: The model of the teacher.
        device: Device to run on.
        batch_size: Examples per run over a whole data set.

    Attributes:
        module: The network.
    """

    def __init__(self, model: Model, device: torch.device, batch_size: int) -> None:
        self.module = GraphModule(model).to(device).eval().requires_grad_(False)
        self._device = device
        self._batch_size = batch_size
        self._cached: WeakKeyDictionary[Dataset, Outputs] = WeakKeyDictionary()
        self._evaluations: WeakKeyDictionary[Dataset, dict[tuple[int | None, int], Outputs]]
        self._evaluations = WeakKeyDictionary()
        self._bytes = 0

    @torch.no_grad()
    def __call__(self, x: Inputs, mode: Mode, watch: Collection[str] = ()) -> Outputs:
        """Return the teacher's outputs for a batch, followed by the given intermediate tensors."""
        return run_module(self.module.watching(watch), x, mode)

    def cached_outputs(self, dataset: Dataset, indices: Indices, mode: Mode) -> Outputs:
        """Return the outputs for examples of a data set, which are computed once and cached."""
        cached = self._cached.get(dataset)
        if cached is None:
            cached = self._run_through(dataset, mode)
            self._cached[dataset] = cached
        rows = torch.from_numpy(indices)
        return tuple(output[rows].to(self._device) for output in cached)

    def evaluation_outputs(
        self, dataset: Dataset, limit: int | None, number: int, x: Inputs
    ) -> Outputs:
        """Return the outputs in float32 for one batch of an evaluation, and cache them.

        A search evaluates many candidates on the same images, and running the teacher would take
        longer than running the smaller candidate.

        Args:
            dataset: The data set of the evaluation.
            limit: Its largest number of examples; None for all.
            number: Index of the batch, from 0.
            x: The batch.
        """
        known = self._evaluations.setdefault(dataset, {})
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
