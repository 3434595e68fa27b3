"""Estimate the running statistics of BatchNormalization again."""

import numpy as np
import torch

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.modes import Mode, run_module
from acgraph.backends.training import steps_per_pass
from acgraph.data import Dataset, Indices, cut_indices
from acgraph.ir import Array

#: A channel counts as constant if its variance is at most this share of its old variance.
CONSTANT = 1e-6


@torch.no_grad()
def recalibrate(
    module: GraphModule,
    data: Dataset,
    *,
    images: int,
    batch_size: int,
    seed: int,
    mode: Mode,
    device: torch.device,
) -> None:
    """Set the mean and variance of each BatchNormalization to their averages over batches.

    A channel that is constant on these examples keeps its old variance. With a variance near zero,
    its output would be hundreds of times too large on the first example in which it varies.

    Args:
        module: The network; its weights are not changed.
        data: The data set; examples are sampled without replacement.
        images: Number of examples, at most one pass over the data.
        batch_size: Examples per batch.
        seed: Seed of the sampling and of Dropout.
        mode: Precision and layout.
        device: Device of the network.
    """
    statistics = dict(module.named_buffers())
    if not statistics:
        return
    order = np.random.default_rng(seed).permutation(len(data))[:images]
    parts = _parts(data, order, batch_size)
    sums = {name: torch.zeros_like(value) for name, value in statistics.items()}
    before = _variances(module)
    was_training, momentum = module.training, module.momentum
    module.train()
    module.momentum = 1.0  # each batch replaces the statistics by its own
    try:
        torch.manual_seed(seed)
        for part in parts:
            run_module(module, Inputs.of(data.batch(part), module.input_names, device), mode)
            for name, value in module.named_buffers():
                sums[name] += value
        for name, value in module.named_buffers():
            value.copy_(sums[name] / len(parts))
        for name, now in _variances(module).items():
            was = before[name]
            module.load_weights({name: np.where(now <= np.multiply(was, CONSTANT), was, now)})
    finally:
        module.momentum = momentum
        module.train(was_training)


def _variances(module: GraphModule) -> dict[str, Array]:
    """Copy the running variances of BatchNormalization, by ONNX name."""
    return module.weights(
        names[4] for node, names in module.walk() if node.op == "BatchNormalization"
    )


def _parts(data: Dataset, order: Indices, batch_size: int) -> list[Indices]:
    """Split examples into batches of about equal size, each with examples of one input size."""
    if data.groups is None:
        return np.array_split(order, steps_per_pass(len(order), batch_size))
    return list(cut_indices(data, order, batch_size))
