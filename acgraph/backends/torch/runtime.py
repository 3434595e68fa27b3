"""Process-wide settings of PyTorch that training needs, and where to restore them."""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

log = logging.getLogger(__name__)

#: Large enough for PyTorch to share one operation among its threads.
_PROBE_SIZE = 1 << 18
#: Below the smallest normal float32.
_DENORMAL = 1e-39


@functools.cache
def flush_denormals() -> bool:
    """Make the CPU take denormal floats for zero; say whether all threads do.

    Weights on their way to zero would slow multiplication down by an order of magnitude. The
    setting belongs to a thread and is inherited, so it must precede PyTorch's thread pool.
    """
    torch.set_flush_denormal(True)
    probe = torch.full((_PROBE_SIZE,), _DENORMAL) * 0.5
    is_complete = not bool(probe.count_nonzero())
    if not is_complete:
        log.info("PyTorch ran in threads before acgraph was imported: they keep denormal floats")
    return is_complete


@contextmanager
def settings(threads: int | None, device: torch.device) -> Iterator[None]:
    """Run with so many threads, reproducible kernels and a generator of its own, denormals off."""
    # Again on every entry: making a session of ONNX Runtime can reset its thread (seen in 1.32).
    torch.set_flush_denormal(True)
    before = torch.get_num_threads()
    was_deterministic = torch.backends.cudnn.deterministic
    if threads is not None:
        torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.backends.cudnn.deterministic = was_deterministic
        torch.set_num_threads(before)


def choose_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu`` or ``cuda`` means here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
