"""How many images fit into memory at once: measured on a few, extrapolated."""

import logging
import math
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.modes import Mode, probe_loss, rehearsal, run_module
from acgraph.backends.torch.visit import peak_bytes
from acgraph.backends.training import TrainConfig
from acgraph.data import Dataset
from acgraph.ir import Model

log = logging.getLogger(__name__)

#: Share of the available memory that training may take. A step of ResNet-18, ResNet-20 and VGG-16
#: took up to 1.6 times what is counted here: kernels have buffers of their own.
SHARE = 0.5
#: The most that a step takes on a CPU, where a batch in parts is as fast as a whole one.
MAX_STEP_BYTES = 3 << 30
#: The most that a batch takes that is only judged.
MAX_FORWARD_BYTES = 1 << 29
#: Images of the two steps that are measured; BatchNormalization needs at least two.
PROBES = (2, 4)
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
#: Limit and usage of a control group, version 2 and version 1.
_CGROUP_FILES = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


def images_that_fit(
    module: GraphModule, x: Inputs, mode: Mode, config: TrainConfig, processes: int = 1
) -> int:
    """Return how many of the images of a batch can be trained on at once.

    Two steps on a few images are measured, and the memory of more is taken to grow linearly. All
    are taken to fit where the system does not say how much there is, and where the network runs at
    one batch size alone.

    Args:
        module: The network, on its device.
        x: A whole batch, on the same device.
        mode: How it will run.
        config: Says which copies of the weights training keeps.
        processes: How many share the memory.
    """
    whole = len(x)
    if whole <= max(PROBES) or module.fixed_batch is not None:
        return whole
    free = available_bytes(x.device)
    if free is None:
        log.info("this system does not say how much memory is available: batches stay whole")
        return whole
    few, more = (_bytes_of_step(module, x[:count], mode) for count in PROBES)
    each = (more - few) / (PROBES[1] - PROBES[0])
    fixed = few - PROBES[0] * each + _kept_bytes(module, config)
    budget = SHARE * free / processes - fixed
    if x.device.type == "cpu":
        budget = min(budget, MAX_STEP_BYTES)
    log.info(
        "a step takes %.1f MB and %.2f MB an image; %.0f MB are available",
        fixed / 1e6, each / 1e6, free / 1e6,
    )  # fmt: skip
    if each <= 0 or budget >= each * whole:
        return whole
    if budget < each * PROBES[0]:
        log.warning("memory is short: one step takes more than %.0f %% of it", 100 * SHARE)
        return PROBES[0]
    return int(budget / each)


def images_to_judge(module: GraphModule, example: Inputs, batch_size: int) -> int:
    """Return how many images are run at once where no gradients are needed.

    Args:
        module: The network, on its device.
        example: One image, on the same device.
        batch_size: The most.
    """
    if module.fixed_batch is not None:
        return batch_size
    each = peak_bytes(module, *example.tensors)
    return max(1, min(batch_size, MAX_FORWARD_BYTES // max(each, 1)))


def bytes_of_an_image(model: Model, data: Dataset) -> int:
    """Return the bytes that all tensors of one image take together, about what gradients need."""
    module = GraphModule(model)
    count = module.fixed_batch or 1
    x = Inputs.of(data.batch(np.zeros(count, np.int64)), module.input_names, torch.device("cpu"))
    sizes = module.tensor_sizes(*x.tensors)
    weights = set(module.parameter_names().values())
    numbers = sum(math.prod(size) for name, size in sizes.items() if name not in weights)
    return torch.float32.itemsize * numbers // count


def available_bytes(device: torch.device) -> int | None:
    """Return how much memory a process can still take; None where the system does not say."""
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
    """Return how many processes the launcher says it started on this host."""
    text = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return int(text) if text.isdigit() and int(text) else 1


def _bytes_of_step(module: nn.Module, x: Inputs, mode: Mode) -> int:
    """Return the bytes that a step takes beside the weights: activations and gradients."""
    with rehearsal(module), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        module.zero_grad(set_to_none=True)
        if x.is_cuda:
            return _peak_on_gpu(module, x, mode)
        weights = {p.untyped_storage().data_ptr(): p for p in module.parameters()}
        saved: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                saved[storage.data_ptr()] = storage.nbytes()  # alive as long as the loss is
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
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


def _kept_bytes(module: nn.Module, config: TrainConfig) -> int:
    """Return the bytes of the copies of the weights that a fit keeps.

    Two to fall back to, the moments of the optimizer, and the running average.
    """
    moments = int(config.momentum > 0) if config.optimizer == "sgd" else 2
    copies = 2 + moments + int(config.ema > 0)
    return copies * sum(p.numel() * p.element_size() for p in module.parameters())
