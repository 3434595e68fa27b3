"""BatchNormalization's running statistics, estimated anew."""

import numpy as np
import torch

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.modes import Mode, run_module
from acgraph.backends.training import steps_per_pass
from acgraph.data import Dataset, Indices, cut_indices
from acgraph.ir import Array

#: A variance this many times smaller than before is that of a channel which does not vary.
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
    """Set mean and variance of each BatchNormalization to their averages over batches of data.

    A channel that does not vary on these examples keeps its variance: divided by none, it would be
    hundreds of times too large on the first example where it does.

    Args:
        module: The network; its weights stay as they are.
        data: Examples, drawn at random without replacement.
        images: How many, at most a pass over the data.
        batch_size: Examples in one.
        seed: Of the draw, and of Dropout.
        mode: Precision and layout to run in.
        device: Where the network is.
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
    """Copy the variances that BatchNormalization keeps, by the names of their constants."""
    return module.weights(
        names[4] for node, names in module.walk() if node.op == "BatchNormalization"
    )


def _parts(data: Dataset, order: Indices, batch_size: int) -> list[Indices]:
    """Cut examples into batches of about one size; none holds two sizes of examples."""
    if data.groups is None:
        return np.array_split(order, steps_per_pass(len(order), batch_size))
    return list(cut_indices(data, order, batch_size))
