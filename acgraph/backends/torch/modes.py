"""Which precision, memory layout and threads train fastest: timed on the network, cached."""

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

#: Largest relative difference of the loss from float32 that a mode may have.
TOLERANCE = 0.02
#: Timed steps a mode, after one that warms up; the fastest counts.
TIMED_STEPS = 3
#: Images of the first step, from which the timed batch grows by at most this factor at a time.
PROBE_IMAGES, GROWTH = 4, 4
#: A faster mode must win by this factor to displace a simpler one: timings are noisy.
MARGIN = 0.95
#: A first step that takes so many times as long, and what warms up beside, loses for certain.
HOPELESS, WARM_UP_SECONDS = 2.0, 0.5
#: Under what choices are cached.
KIND = "modes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How a network runs.

    Attributes:
        precision: Whether convolutions and products multiply in float32 or bfloat16.
        channels_last: Whether images lie in memory with their channels innermost.
        threads: On how many threads of the CPU; None leaves them as they are.
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
    """Lay the weights of a module out as a mode wants them."""
    layout = torch.channels_last if mode.channels_last else torch.contiguous_format
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def run_module(module: Callable[..., Outputs], x: Inputs, mode: Mode) -> Outputs:
    """Run a module in a mode; outputs are float32. Gradients and ``train()`` are the caller's."""
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
    """Time training steps in every allowed mode and return the fastest that is accurate.

    In that mode fewer threads are tried, too: small networks, and hosts whose cores are busy or
    come in pairs, train faster on fewer. Where precision and layout are stated nothing is timed.

    A step is forward, loss and backward. A mode is accurate where its loss is within
    :data:`TOLERANCE` of that of float32. Weights, statistics and gradients are left as they were.
    The choice is cached on disk by network, batch, host and threads.

    Args:
        module: The network, on its device.
        x: A typical batch of training, on the same device.
        precision: ``fp32`` or ``bf16`` where the choice is made already, or ``auto``.
        channels_last: Likewise.
        choose_threads: Whether the number of threads is open.
        probe_s: Seconds of one timed step, about; there are up to 20.
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
    store_choice(KIND, key, asdict(mode))
    return mode


def _candidates(precision: str, channels_last: bool | str, x: Inputs) -> list[Mode]:
    precisions: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
    if precision == "bf16":
        precisions = ("bf16",)
    elif precision == "fp32" or not (x.is_cuda or _computes_in_bf16()):
        precisions = ("fp32",)
    layouts = (False, True) if channels_last == "auto" else (bool(channels_last),)
    if not x.has_images:
        layouts = (False,)
    return [Mode(precision=p, channels_last=c) for p, c in product(precisions, layouts)]


def _computes_in_bf16() -> bool:
    """Whether the CPU computes in bf16; one that does not takes minutes for a single step."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _fewer_threads(count: int) -> list[int]:
    """Return the half of a number of threads, the half of that, down to 1.

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
    with rehearsal(module):
        try:
            x = _as_many(module, x, probe_s)
            reference, _ = _time(module, x, PLAIN, steps=0)
            mode, seconds = _compare(module, x, candidates, reference)
            return _compare_threads(module, x, mode, seconds, counts)
        finally:
            apply_mode(module, PLAIN)


@contextmanager
def rehearsal(module: nn.Module) -> Iterator[None]:
    """Train a module for a few steps that leave no trace in weights, statistics and gradients."""
    state = {name: value.clone() for name, value in module.state_dict().items()}
    was_training = module.training
    module.train()
    try:
        yield
    finally:
        module.load_state_dict(state)
        module.zero_grad(set_to_none=True)
        module.train(was_training)


def _as_many(module: nn.Module, x: Inputs, seconds: float) -> Inputs:
    """Return as many images as a step takes so many seconds for, or all.

    The number grows in stages: of a few images most time goes into what does not depend on their
    number, and the fastest mode of so small a batch is not that of a whole one.
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
    told = []
    try:
        for count in counts:
            torch.set_num_threads(count)
            _, taken = _time(module, x, mode, TIMED_STEPS, seconds)
            told.append(f"{count}: {taken * 1e3:.1f} ms")
            if taken < MARGIN * seconds:
                best, seconds = replace(mode, threads=count), taken
    finally:
        torch.set_num_threads(before)
    if told:
        log.info(
            "training on %s of %d threads (%s)", best.threads or before, before, "; ".join(told)
        )
    return best


def _compare(
    module: nn.Module, x: Inputs, candidates: list[Mode], reference: float
) -> tuple[Mode, float]:
    best, best_seconds = candidates[0], float("inf")
    told = []
    for mode in candidates:
        try:
            loss, seconds = _time(module, x, mode, TIMED_STEPS, best_seconds)
        except (RuntimeError, NotImplementedError, BackendError) as error:
            if mode.precision == "fp32":
                raise  # not a matter of the mode
            told.append(f"{mode}: not supported ({str(error).splitlines()[0]})")
            continue
        is_accurate = abs(loss - reference) <= TOLERANCE * abs(reference)
        told.append(f"{mode}: {seconds * 1e3:.1f} ms{'' if is_accurate else ', not accurate'}")
        if is_accurate and seconds < MARGIN * best_seconds:
            best, best_seconds = mode, seconds
    log.info("training mode: %s (%s)", best, "; ".join(told))
    return best, best_seconds


def _time(
    module: nn.Module, x: Inputs, mode: Mode, steps: int, beaten_s: float = math.inf
) -> tuple[float, float]:
    """Return the loss of the first step and the seconds of the fastest of the later ones.

    Where the first is far slower than a known mode, it stays the only one.
    """
    apply_mode(module, mode)
    loss, first = time_step(module, x, mode)
    if first > HOPELESS * beaten_s + WARM_UP_SECONDS:
        return loss, first
    later = [time_step(module, x, mode)[1] for _ in range(steps)]
    return loss, min(later, default=first)


def time_step(
    module: nn.Module,
    x: Inputs,
    mode: Mode,
    forward: Callable[..., Outputs] | None = None,
) -> tuple[float, float]:
    """Run a step without the optimizer; return its loss and its seconds.

    Args:
        module: Whose gradients are made.
        x: A batch.
        mode: How to run.
        forward: What runs the module, where not the module itself.
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
    """Return a loss that is far from zero whatever the network has learnt.

    Cross-entropy with labels that rotate through the classes, or the mean square of the outputs.
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
    content = load_choice(KIND, key)
    if content is None:
        return None
    try:
        return Mode(
            precision="bf16" if content["precision"] == "bf16" else "fp32",
            channels_last=bool(content["channels_last"]),
            threads=None if content["threads"] is None else int(content["threads"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        log.warning("a cached mode is unreadable, timing again: %s", error)
        return None
