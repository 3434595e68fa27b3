"""Process-wide settings of PyTorch that training needs, and where to restore them."""

import ctypes
import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from acgraph.errors import BackendError

log = logging.getLogger(__name__)

#: Large enough for PyTorch to share one operation among its threads.
_PROBE_SIZE = 1 << 18
#: Bits of a float32 below the smallest normal one.
_DENORMAL_BITS = 1 << 16
#: ``omp_pause_soft`` of OpenMP 5.0: end the threads of the pool, keep everything else.
_OMP_PAUSE_SOFT = 1


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Make the CPU take denormal floats for zero, on every thread of PyTorch; then as before.

    Weights on their way to zero would slow multiplication down by an order of magnitude. The
    setting belongs to a thread and is inherited, so threads that differ are started anew.
    """
    before = _count_kept(1) == 0
    _set_flush(True)
    try:
        yield
    finally:
        _set_flush(before)


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode; then back into the mode that it was in."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def _set_flush(wanted: bool) -> None:
    if not torch.set_flush_denormal(wanted):
        return  # this processor has no such setting
    right = 0 if wanted else _PROBE_SIZE
    if _count_kept(_PROBE_SIZE) == right:
        return
    pause = _pool_ender()
    if pause is None or pause(_OMP_PAUSE_SOFT) != 0 or _count_kept(_PROBE_SIZE) != right:
        log.info("some threads of PyTorch %s denormal floats", "keep" if wanted else "flush")


def _count_kept(size: int) -> int:
    """Return how many of so many denormal numbers a multiplication does not make zero."""
    denormal = torch.from_numpy(np.full(size, _DENORMAL_BITS, np.int32).view(np.float32))
    return int((denormal * 0.5).view(torch.int32).count_nonzero())


@functools.cache
def _pool_ender() -> "ctypes._NamedFuncPointer | None":
    """Return the function of PyTorch's own OpenMP that ends the threads of the calling thread."""
    for file in sorted((Path(torch.__file__).parent / "lib").glob("lib*omp*")):
        try:
            return ctypes.CDLL(str(file)).omp_pause_resource_all
        except (OSError, AttributeError) as error:
            log.debug("%s cannot end its threads: %s", file.name, error)
    return None


@contextmanager
def settings(threads: int | None, device: torch.device) -> Iterator[None]:
    """Run with so many threads, reproducible kernels and a generator of its own, denormals off."""
    before = torch.get_num_threads()
    was_deterministic = torch.backends.cudnn.deterministic
    if threads is not None:
        torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    try:
        with denormals_flushed(), torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.backends.cudnn.deterministic = was_deterministic
        torch.set_num_threads(before)


def choose_device(name: str) -> torch.device:
    """Return the device that ``auto``, ``cpu`` or ``cuda`` means here.

    Raises:
        BackendError: there is no GPU that torch could use.
    """
    has_gpu = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    if name == "cuda" and not has_gpu:
        raise BackendError(
            "the device is cuda, and torch finds no GPU",
            hint="leave train.device at auto, or install a build of torch for the GPU",
        )
    return torch.device(name)
