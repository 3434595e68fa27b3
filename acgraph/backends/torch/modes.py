"""Choose precision, memory layout and number of threads by timing training steps."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acgraph.backends.torch.choice_cache import load_choice, signature, store_choice
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.losses import Outputs
from acgraph.backends.training import PROBE_SECONDS
from acgraph.errors import BackendError

log = logging.getLogger(__name__)

#: Largest relative difference between the loss of a mode and that of float32.
TOLERANCE = 0.02
#: Timed steps per mode after one warm-up step; the fastest one is used.
TIMED_STEPS = 3
#: Batch size of the first timed step, and the largest factor by which it grows at a time.
PROBE_IMAGES, GROWTH = 4, 4
#: A mode replaces a simpler one only below this share of its time, because timings are noisy.
MARGIN = 0.95
#: A mode is rejected if its warm-up step takes this many times the best time, plus these seconds.
GIVE_UP_FACTOR, GIVE_UP_SECONDS = 2.0, 0.5
#: Folder of the cached choices.
CACHE_FOLDER = "modes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """The precision, memory layout and number of threads that a network runs with.

    Attributes:
        precision: Data type in which convolutions and matrix products are computed.
        channels_last: Whether images have the memory format ``torch.channels_last``.
        threads: Number of CPU threads; None does not change it.
    """

    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    threads: int | None = None

    def __str__(self) -> str:
        layout = "channels last" if self.channels_last else "contiguous"
        threads = f", threads: {self.threads}" if self.threads is not None else ""
        return f"{self.precision}, {layout}{threads}"


PLAIN = Mode()


def apply_mode(module: nn.Module, mode: Mode) -> None:
    """Convert the weights of a module to the memory layout of a mode."""
    layout = torch.channels_last if mode.channels_last else torch.contiguous_format
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def run_module(module: Callable[..., Outputs], x: Inputs, mode: Mode) -> Outputs:
    """Run a module in a mode and return its outputs, those in bfloat16 converted to float32."""
    tensors = x.tensors
    if mode.channels_last:
        tensors = tuple(
            t.contiguous(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors
        )
    is_bf16 = mode.precision == "bf16"
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=is_bf16):
        outputs = module(*tensors)
    return tuple(o.float() if o.dtype == torch.bfloat16 else o for o in outputs)


def choose_mode(
    module: nn.Module,
    x: Inputs,
    *,
    precision: str = "auto",
    channels_last: bool | str = "auto",
    choose_threads: bool = False,
    probe_s: float = PROBE_SECONDS,
) -> Mode:
    """Time training steps in every allowed mode and return the fastest accurate one.

    The fastest mode is also timed with fewer threads, because small networks, and hosts with busy
    cores or hyper-threading, often train faster with fewer. Nothing is timed if both precision and
    layout are given.

    A timed step consists of forward, loss and backward. A mode is accurate if its loss is within
    :data:`TOLERANCE` of the loss in float32. Weights, running statistics and gradients are restored
    afterwards. The choice is cached on disk by network, batch, host and number of threads.

    Args:
        module: The network, on its device.
        x: A typical training batch, on the same device.
        precision: ``fp32``, ``bf16``, or ``auto`` to choose it.
        channels_last: True, False, or ``auto`` to choose it.
        choose_threads: Whether to choose the number of threads.
        probe_s: Approximate seconds of a timed step; up to 20 steps are timed.
    """
    candidates = _candidates(precision, channels_last, x)
    if len(candidates) == 1:
        return candidates[0]
    counts = _fewer_threads(torch.get_num_threads()) if choose_threads and not x.is_cuda else []
    key = signature(module, x, [asdict(mode) for mode in candidates], counts)
    known = _load_mode(key)
    if known is not None and replace(known, threads=None) in candidates:
        log.info("training mode: %s (cached)", known)
        return known
    mode = _fastest(module, x, candidates, counts, probe_s)
    store_choice(CACHE_FOLDER, key, asdict(mode))
    return mode


def _candidates(precision: str, channels_last: bool | str, x: Inputs) -> list[Mode]:
    precisions: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
    if precision == "bf16":
        precisions = ("bf16",)
    elif precision == "fp32" or not (x.is_cuda or _has_bf16()):
        precisions = ("fp32",)
    layouts = (False, True) if channels_last == "auto" else (bool(channels_last),)
    if not x.has_images:
        layouts = (False,)
    return [Mode(precision=p, channels_last=c) for p, c in product(precisions, layouts)]


def _has_bf16() -> bool:
    """Whether the CPU has bfloat16 instructions; without them a step can take minutes."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _fewer_threads(count: int) -> list[int]:
    """Return the number of threads halved repeatedly, down to 1.

    >>> _fewer_threads(12)
    [6, 3, 1]
    """
    counts = []
    while count > 1:
        count //= 2
        counts.append(count)
    return counts


def _fastest(
    module: nn.Module, x: Inputs, candidates: list[Mode], counts: list[int], probe_s: float
) -> Mode:
    with preserved_state(module):
        try:
            x = _grow_batch(module, x, probe_s)
            reference, _ = _time(module, x, PLAIN, steps=0)
            mode, seconds = _compare(module, x, candidates, reference)
            return _compare_threads(module, x, mode, seconds, counts)
        finally:
            apply_mode(module, PLAIN)


@contextmanager
def preserved_state(module: nn.Module) -> Iterator[None]:
    """Set ``train()``; afterwards restore weights, statistics and mode, and clear the gradients."""
    state = {name: value.clone() for name, value in module.state_dict().items()}
    was_training = module.training
    module.train()
    try:
        yield
    finally:
        module.load_state_dict(state)
        module.zero_grad(set_to_none=True)
        module.train(was_training)


def _grow_batch(module: nn.Module, x: Inputs, seconds: float) -> Inputs:
    """Return as many images as a step can process in about this many seconds, at most all.

    The batch grows in stages, because a step on a few images is dominated by constant overhead, and
    the fastest mode of a small batch is often not that of the whole batch.
    """
    count = min(PROBE_IMAGES, len(x))
    while True:
        _, taken = _time(module, x[:count], PLAIN, steps=1)
        more = int(count * min(seconds / taken, GROWTH))
        if count == len(x) or taken > seconds / 2 or more <= count:
            return x[: min(count, max(2, more))]
        count = min(len(x), more)


def _compare_threads(
    module: nn.Module, x: Inputs, mode: Mode, seconds: float, counts: list[int]
) -> Mode:
    best, before = mode, torch.get_num_threads()
    timings = []
    try:
        for count in counts:
            torch.set_num_threads(count)
            _, taken = _time(module, x, mode, TIMED_STEPS, seconds)
            timings.append(f"{count}: {taken * 1e3:.1f} ms")
            if taken < MARGIN * seconds:
                best, seconds = replace(mode, threads=count), taken
    finally:
        torch.set_num_threads(before)
    if timings:
        log.info(
            "training on %s of %d threads (%s)", best.threads or before, before, "; ".join(timings)
        )
    return best


def _compare(
    module: nn.Module, x: Inputs, candidates: list[Mode], reference: float
) -> tuple[Mode, float]:
    best, best_seconds = candidates[0], float("inf")
    timings = []
    for mode in candidates:
        try:
            loss, seconds = _time(module, x, mode, TIMED_STEPS, best_seconds)
        except (RuntimeError, NotImplementedError, BackendError) as error:
            if mode.precision == "fp32":
                raise  # the error does not depend on the mode
            timings.append(f"{mode}: not supported ({str(error).splitlines()[0]})")
            continue
        is_accurate = abs(loss - reference) <= TOLERANCE * abs(reference)
        timings.append(f"{mode}: {seconds * 1e3:.1f} ms{'' if is_accurate else ', not accurate'}")
        if is_accurate and seconds < MARGIN * best_seconds:
            best, best_seconds = mode, seconds
    log.info("training mode: %s (%s)", best, "; ".join(timings))
    return best, best_seconds


def _time(
    module: nn.Module, x: Inputs, mode: Mode, steps: int, best_s: float = math.inf
) -> tuple[float, float]:
    """Return the loss of the warm-up step and the seconds of the fastest later step.

    If the warm-up step is far slower than ``best_s``, no further steps are run.
    """
    apply_mode(module, mode)
    loss, first = time_step(module, x, mode)
    if first > GIVE_UP_FACTOR * best_s + GIVE_UP_SECONDS:
        return loss, first
    later = [time_step(module, x, mode)[1] for _ in range(steps)]
    return loss, min(later, default=first)


def time_step(
    module: nn.Module,
    x: Inputs,
    mode: Mode,
    forward: Callable[..., Outputs] | None = None,
) -> tuple[float, float]:
    """Run a training step without the optimizer; return its loss and its seconds.

    Args:
        module: The network whose gradients are computed.
        x: A batch.
        mode: Precision and layout.
        forward: Runs the network; None calls the module.
    """
    module.zero_grad(set_to_none=True)
    _synchronize(x)
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        torch.manual_seed(0)
        loss = probe_loss(run_module(forward or module, x, mode))
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    value = float(loss.detach())
    _synchronize(x)
    return value, time.perf_counter() - start


def probe_loss(outputs: Outputs) -> Tensor:
    """Return a loss that is far from zero for any trained network.

    It is the cross-entropy with labels that cycle through the classes, or the mean square of the
    outputs.
    """
    first = outputs[0].float()
    if first.ndim == 2 and first.shape[1] > 1:
        labels = torch.arange(len(first), device=first.device) % first.shape[1]
        return F.cross_entropy(first, labels)
    squares = [o.float().square().mean() for o in outputs if o.is_floating_point()]
    return torch.stack(squares).sum()


def _synchronize(x: Inputs) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)


def _load_mode(key: str) -> Mode | None:
    content = load_choice(CACHE_FOLDER, key)
    if content is None:
        return None
    try:
        return Mode(
            precision="bf16" if content["precision"] == "bf16" else "fp32",
            channels_last=bool(content["channels_last"]),
            threads=None if content["threads"] is None else int(content["threads"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        log.warning("the cached mode cannot be read, timing again: %s", error)
        return None
