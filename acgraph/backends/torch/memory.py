"""Estimate how many images fit into memory at once, by measuring a few and extrapolating."""

import logging
import math
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.modes import Mode, preserved_state, probe_loss, run_module
from acgraph.backends.torch.visit import peak_bytes
from acgraph.backends.training import TrainConfig
from acgraph.data import Dataset
from acgraph.ir import Model

log = logging.getLogger(__name__)

#: Share of the available memory that training may use. Steps of ResNet-18, ResNet-20 and VGG-16
#: used up to 1.6 times the estimate, because kernels allocate buffers of their own.
SHARE = 0.5
#: Bound of the bytes of a step on a CPU, where micro-batches are as fast as whole batches.
MAX_STEP_BYTES = 3 << 30
#: Bound of the bytes of a batch without gradients.
MAX_FORWARD_BYTES = 1 << 29
#: Batch sizes of the two steps that are measured; BatchNormalization needs at least two images.
PROBES = (2, 4)
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
#: Files with the limit and usage of a control group, version 2 and version 1.
_CGROUP_FILES = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def images_that_fit(
    module: GraphModule, x: Inputs, mode: Mode, config: TrainConfig, processes: int = 1
) -> int:
    """Return how many images of a batch fit into memory in one training step.

    Two steps on a few images are measured, and memory is assumed to grow linearly with the number
    of images. The whole batch is returned if the available memory is not known, or if the network
    has a fixed batch size.

    Args:
        module: The network, on its device.
        x: A whole batch, on the same device.
        mode: Precision and layout of training.
        config: Options of training, which determine how many copies of the weights are kept.
        processes: Number of processes that share the memory.
    """
    whole = len(x)
    if whole <= max(PROBES) or module.fixed_batch is not None:
        return whole
    free = available_bytes(x.device)
    if free is None:
        log.info("the available memory is unknown, so batches are not split")
        return whole
    few, more = (_bytes_of_step(module, x[:count], mode) for count in PROBES)
    each = (more - few) / (PROBES[1] - PROBES[0])
    fixed = few - PROBES[0] * each + _copies_bytes(module, config)
    budget = SHARE * free / processes - fixed
    if x.device.type == "cpu":
        budget = min(budget, MAX_STEP_BYTES)
    log.info(
        "a step needs %.1f MB plus %.2f MB per image; %.0f MB are available",
        fixed / 1e6, each / 1e6, free / 1e6,
    )  # fmt: skip
    if each <= 0 or budget >= each * whole:
        return whole
    if budget < each * PROBES[0]:
        log.warning(
            "memory is short: a step on %d images needs more than %.0f %% of the available memory",
            PROBES[0], 100 * SHARE,
        )  # fmt: skip
        return PROBES[0]
    return int(budget / each)


def images_without_gradients(module: GraphModule, example: Inputs, batch_size: int) -> int:
    """Return how many images fit into ``MAX_FORWARD_BYTES`` in a run without gradients.

    Args:
        module: The network, on its device.
        example: One image, on the same device.
        batch_size: Upper bound of the result; returned if the network has a fixed batch size.
    """
    if module.fixed_batch is not None:
        return batch_size
    each = peak_bytes(module, *example.tensors)
    return max(1, min(batch_size, MAX_FORWARD_BYTES // max(each, 1)))


def bytes_of_an_image(model: Model, data: Dataset) -> int:
    """Estimate the bytes per image of a training step: the sum of all its tensors in float32."""
    module = GraphModule(model)
    count = module.fixed_batch or 1
    x = Inputs.of(data.batch(np.zeros(count, np.int64)), module.input_names, torch.device("cpu"))
    sizes = module.tensor_sizes(*x.tensors)
    weights = set(module.parameter_names().values())
    numbers = sum(math.prod(size) for name, size in sizes.items() if name not in weights)
    return torch.float32.itemsize * numbers // count


def available_bytes(device: torch.device) -> int | None:
    """Return the bytes that this process can still allocate; None if they are not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if not _MEMINFO.is_file():
        return None
    lines = (line.partition(":") for line in _MEMINFO.read_text().splitlines())
    known = {name: rest.split()[0] for name, _, rest in lines if rest.split()}
    free = 1024 * int(known["MemAvailable"])
    for limit, usage in _CGROUP_FILES:
        if (_CGROUP / limit).is_file() and (_CGROUP / usage).is_file():
            text = (_CGROUP / limit).read_text().strip()
            if text != "max":
                free = min(free, int(text) - int((_CGROUP / usage).read_text()))
    return max(free, 0)


def processes_here() -> int:
    """Return the number of processes on this host, from ``LOCAL_WORLD_SIZE``."""
    text = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return int(text) if text.isdigit() and int(text) else 1


def _bytes_of_step(module: nn.Module, x: Inputs, mode: Mode) -> int:
    """Return the bytes of a step in addition to the weights: activations and gradients."""
    with preserved_state(module), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        module.zero_grad(set_to_none=True)
        if x.is_cuda:
            return _peak_on_gpu(module, x, mode)
        weights = {p.untyped_storage().data_ptr(): p for p in module.parameters()}
        saved: dict[int, int] = {}

        def record(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                saved[storage.data_ptr()] = storage.nbytes()  # kept alive by the loss
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
            loss = probe_loss(run_module(module, x, mode))
        del loss
        gradients = sum(p.numel() * p.element_size() for p in weights.values() if p.requires_grad)
        return sum(saved.values()) + gradients


def _peak_on_gpu(module: nn.Module, x: Inputs, mode: Mode) -> int:
    torch.cuda.synchronize(x.device)
    before = torch.cuda.memory_allocated(x.device)
    torch.cuda.reset_peak_memory_stats(x.device)
    loss = probe_loss(run_module(module, x, mode))
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    return torch.cuda.max_memory_allocated(x.device) - before


def _copies_bytes(module: nn.Module, config: TrainConfig) -> int:
    """Return the bytes of the copies of the weights that a fit keeps.

    These are two copies for recovery from divergence, the optimizer state, and the moving average.
    """
    moments = int(config.momentum > 0) if config.optimizer == "sgd" else 2
    copies = 2 + moments + int(config.ema > 0)
    return copies * sum(p.numel() * p.element_size() for p in module.parameters())
