"""Process-wide settings of PyTorch for training, as context managers that restore them."""

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

#: Number of elements for which PyTorch distributes an operation over its threads.
_PROBE_SIZE = 1 << 18
#: Bit pattern of a denormal float32.
_DENORMAL_BITS = 1 << 16
#: ``omp_pause_soft`` of OpenMP 5.0: end the threads of the pool, and keep its settings.
_OMP_PAUSE_SOFT = 1


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Flush denormal floats to zero on every thread of PyTorch, and restore the setting afterwards.

    Weights that decay towards zero become denormal, which slows multiplication by an order of
    magnitude. The setting belongs to a thread and is inherited by new threads. Therefore the thread
    pool is restarted if one of its threads has another setting.
    """
    before = _count_kept(1) == 0
    _set_flush(True)
    try:
        yield
    finally:
        _set_flush(before)


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Set a module to ``eval()``, and restore its mode afterwards."""
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
    pause = _omp_pause_function()
    if pause is None or pause(_OMP_PAUSE_SOFT) != 0 or _count_kept(_PROBE_SIZE) != right:
        log.info("some threads of PyTorch still %s denormal floats", "keep" if wanted else "flush")


def _count_kept(size: int) -> int:
    """Return how many of ``size`` denormal numbers a multiplication does not flush to zero."""
    denormal = torch.from_numpy(np.full(size, _DENORMAL_BITS, np.int32).view(np.float32))
    return int((denormal * 0.5).view(torch.int32).count_nonzero())


@functools.cache
def _omp_pause_function() -> "ctypes._NamedFuncPointer | None":
    """Return ``omp_pause_resource_all`` of PyTorch's OpenMP library; None if it has none."""
    for file in sorted((Path(torch.__file__).parent / "lib").glob("lib*omp*")):
        try:
            return ctypes.CDLL(str(file)).omp_pause_resource_all
        except (OSError, AttributeError) as error:
            log.debug("%s has no omp_pause_resource_all: %s", file.name, error)
    return None


@contextmanager
def settings(threads: int | None, device: torch.device) -> Iterator[None]:
    """Set threads, deterministic cuDNN kernels and denormal flushing, and fork the random state."""
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
    """Return the device for the option ``auto``, ``cpu`` or ``cuda``.

    Raises:
        BackendError: The option is ``cuda``, but PyTorch finds no GPU.
    """
    has_gpu = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    if name == "cuda" and not has_gpu:
        raise BackendError(
            "the device is cuda, but PyTorch finds no GPU",
            hint="leave train.device at auto, or install a CUDA build of PyTorch",
        )
    return torch.device(name)
