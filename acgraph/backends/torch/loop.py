"""One fit: the training loop, with its time budget, recovery from divergence, and saved state."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from acgraph.backends.torch.clipping import clip_to_weights, free_parameters
from acgraph.backends.torch.fallback import Fallback
from acgraph.backends.torch.fit_parts import FitPlan, Learner, Tally
from acgraph.backends.torch.inputs import Inputs, take
from acgraph.backends.torch.loader import Batch, Loader
from acgraph.backends.torch.losses import Mix
from acgraph.backends.torch.micro_batch import (
    Examples,
    MicroBatch,
    can_run_out_of_memory,
    is_out_of_memory,
)
from acgraph.backends.torch.modes import run_module
from acgraph.backends.torch.optimizer import (
    Average,
    Optimizer,
    ProximalTerm,
    add_proximal_terms,
    build_optimizer,
    mask_gradients,
    mask_weights,
)
from acgraph.backends.torch.schedule import learning_rate_at
from acgraph.backends.torch.team import Team
from acgraph.backends.training import EpochStats, FitResult, ProgressSink
from acgraph.errors import BackendError, DivergedError

#: Steps between copies of the weights that a diverged fit returns to.
SNAPSHOT_STEPS = 50
#: Seconds after which ``on_epoch`` is also called within a pass.
SAVE_SECONDS = 120.0
#: Keys of the random streams of a step; the loader has further ones.
_NETWORK, _MIXUP = 3, 4


@dataclass(slots=True)
class Fit:
    """A running fit.

    Attributes:
        learner: The network and its loss.
        plan: Length and learning rates of the fit.
        loader: Reads the batches.
        removed: Mask of the entries that stay zero (``True`` = removed), by weight.
        proximal_terms: Proximal terms.
        names: ONNX names of the weights, by their key, for messages.
        time_budget_s: Seconds after which the fit and its schedule end; None for no limit.
        team: The processes that train; each runs the same fit on its part of every batch.
        micro_batch: Number of images that run at once, with gradient accumulation.
        keep_statistics: Whether BatchNormalization uses and keeps its running statistics.
    """

    learner: Learner
    plan: FitPlan
    loader: Loader
    removed: Mapping[nn.Parameter, Tensor]
    proximal_terms: list[ProximalTerm]
    names: Mapping[str, str]
    time_budget_s: float | None = None
    team: Team = field(default_factory=Team)
    micro_batch: MicroBatch = field(default_factory=MicroBatch)
    keep_statistics: bool = False
    step: int = field(default=0, init=False)
    images: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    optimizer: Optimizer = field(init=False)
    average: Average | None = field(default=None, init=False)
    _tally: Tally = field(default_factory=Tally, init=False)
    _fallback: Fallback = field(init=False)
    _free: list[nn.Parameter] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Set the removed entries to zero and build the optimizer."""
        module, config = self.learner.module, self.learner.config
        mask_weights(self.removed)
        self._fallback = Fallback(module)
        if config.grad_clip == "auto":
            self._free = free_parameters(module, is_normalised=not self.keep_statistics)
        self._start_optimizer()

    def _start_optimizer(self) -> None:
        module, config = self.learner.module, self.learner.config
        self.optimizer = build_optimizer(module, config, self.plan.learning_rate)
        if config.ema:
            self.average = Average(module, config.ema)

    def run(
        self,
        progress: ProgressSink,
        description: str,
        on_epoch: Callable[[EpochStats], None] | None = None,
    ) -> FitResult:
        """Train until the plan is complete or the time budget is used up.

        Args:
            progress: Receives the progress of the steps.
            description: Name of the fit for ``progress``.
            on_epoch: Called after each pass and every ``SAVE_SECONDS`` within a pass.

        Raises:
            DivergedError: Training diverged even at the smallest learning rate; the weights from
                before the fit are restored.
            BackendError: An image contains NaN or infinity, or one image needs too much memory.
        """
        self._fallback.begin()
        self.learner.module.train()
        progress.start(self.plan.total_steps, description)
        try:
            self._run(progress, on_epoch)
        finally:
            progress.finish()
        self._share_statistics()
        if self.average is not None:
            self.average.copy_to(self.learner.module)
            mask_weights(self.removed)
        return self._result()

    def _run(self, progress: ProgressSink, on_epoch: Callable[[EpochStats], None] | None) -> None:
        total, per_pass = self.plan.total_steps, self.loader.steps_per_pass
        start = saved = time.perf_counter()
        for batch in self.loader.iterate(self.step, total):
            if self.step % per_pass == 0:
                self._tally = Tally()
            rate = self._set_learning_rate()
            loss = self._train_with_recovery(batch)
            self.step += 1
            now = time.perf_counter()
            self._count(batch, loss, now - start)
            start = now
            progress.update(self.step, loss, self._tally.speed())
            is_last = self.step == total or self._is_out_of_time()
            is_due = is_last or self.step % per_pass == 0 or now - saved >= SAVE_SECONDS
            if on_epoch is not None and is_due:
                on_epoch(self._stats(rate))
                self.learner.module.train()
                start = saved = time.perf_counter()
            if is_last:
                return

    def _count(self, batch: Batch, loss: float, seconds: float) -> None:
        parts = batch.of_one_size()
        mine = sum(len(part.indices) for part in parts)
        tally, images = self._tally, round(mine / sum(part.share for part in parts))
        if self.time_budget_s is not None:
            # All processes use the leader's clock, so that learning rates and ends agree.
            seconds = self.team.broadcast(seconds)
        tally.loss += loss
        tally.steps += 1
        tally.images += images
        tally.seconds += seconds
        self.images += images
        self.seconds += seconds

    def _is_out_of_time(self) -> bool:
        return self.time_budget_s is not None and self.seconds >= self.time_budget_s

    def _set_learning_rate(self) -> float:
        position = float(self.step)
        if self.time_budget_s is not None:
            # If the time budget ends before the steps do, the schedule follows the time.
            left = max(self.time_budget_s, 1e-9)
            position = max(position, self.plan.total_steps * self.seconds / left)
        plan = self.plan
        peak = self._fallback.factor * plan.learning_rate
        rate = learning_rate_at(plan.schedule, peak, position, plan.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _train_with_recovery(self, batch: Batch) -> float:
        """Train on a batch; after a divergence repeat it from good weights at half the rate."""
        while True:
            try:
                return self._train_on(batch)
            except DivergedError as error:
                if not self._fallback.restore(error.diagnostic.message):
                    raise DivergedError(
                        f"{self._fallback.first}, and {self._fallback.times} more times at smaller "
                        "learning rates",
                        hint="lower the learning rate",
                    ) from error
            self._start_optimizer()
            self._set_learning_rate()

    def _train_on(self, batch: Batch) -> float:
        module = self.learner.module
        torch.manual_seed(self._seed(_NETWORK))
        self.optimizer.zero_grad(set_to_none=True)
        value = self._backward(batch)
        self._clip()
        value += add_proximal_terms(self.proximal_terms)
        mask_gradients(self.removed)
        self.optimizer.step()
        mask_weights(self.removed)
        self._check_weights(batch)
        if self.average is not None:
            self.average.update(module)
        return value

    def _clip(self) -> None:
        limit = self.learner.config.grad_clip
        if limit == "auto":
            mask_gradients(self.removed)  # removed entries must not contribute to the norm
            clip_to_weights(self._free)
        elif limit:
            nn.utils.clip_grad_norm_(self.learner.module.parameters(), limit)

    def _backward(self, batch: Batch) -> float:
        """Compute the gradients of the batch, summed over all processes, and return its loss."""
        total = self._accumulate(batch)
        gradients = [p.grad for p in self.learner.module.parameters() if p.grad is not None]
        self.team.add_up([total, *gradients])
        value = float(total)
        if self._fallback.has_diverged(value):
            raise self._divergence(f"the loss is {value:.3g}", batch)
        return value

    def _accumulate(self, batch: Batch) -> Tensor:
        """Accumulate the gradients of this process's batch; halve the parts if memory runs out."""
        if not can_run_out_of_memory(self.learner.device):
            return self._accumulate_once(batch)
        statistics = {name: b.clone() for name, b in self.learner.module.named_buffers()}
        while True:
            try:
                return self._accumulate_once(batch)
            except (RuntimeError, BackendError) as error:
                if not is_out_of_memory(error):
                    raise
            self.micro_batch.halve(max(len(part.indices) for part in batch.of_one_size()))
            self.optimizer.zero_grad(set_to_none=True)
            self.learner.module.load_state_dict(statistics, strict=False)
            torch.manual_seed(self._seed(_NETWORK))
            torch.cuda.empty_cache()

    def _accumulate_once(self, batch: Batch) -> Tensor:
        total = torch.zeros(1, device=self.learner.device)
        for part in self._parts(batch):
            loss = self._loss_of(part) * part.batch.share
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _parts(self, batch: Batch) -> Iterator[Examples]:
        """Split a batch into the parts that run at once."""
        for each in batch.of_one_size():
            yield from self._examples(each).cut(self.micro_batch.parts_of(len(each.indices)))

    @torch.no_grad()
    def _share_statistics(self) -> None:
        """Average the running statistics over the processes, which ran on different images."""
        if self.team.size > 1:
            statistics = [b for b in self.learner.module.buffers() if b.is_floating_point()]
            self.team.add_up(statistics)
            for value in statistics:
                value /= self.team.size

    def _examples(self, batch: Batch) -> Examples:
        device = self.learner.device
        x = Inputs.of(batch.examples, self.learner.input_names, device)
        labels = batch.examples.labels
        y = None if labels is None else torch.from_numpy(labels).to(device)
        alpha = self.learner.config.mixup
        if not alpha:
            return Examples(x, y, None, batch)
        # Zhang et al., arXiv 1710.09412
        rng = np.random.default_rng(self._seed(_MIXUP))
        partner = torch.from_numpy(rng.permutation(len(x))).to(device)
        share = float(rng.beta(alpha, alpha))
        mixed = x.mapped(lambda t, axis: share * t + (1 - share) * take(t, axis, partner))
        return Examples(mixed, y, Mix(share, None if y is None else y[partner]), batch)

    def _loss_of(self, examples: Examples) -> Tensor:
        learner, x = self.learner, examples.x
        teacher = None if learner.teacher is None else learner.teacher(x, examples.batch)
        outputs = run_module(learner.forward, x, learner.mode)
        return learner.loss(outputs, examples.y, teacher, examples.mix)

    def _seed(self, stream: int) -> int:
        process = (self.team.rank,) if self.team.rank else ()
        key = (self.learner.config.seed, self.plan.number, stream, self.step, *process)
        return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))

    def _check_weights(self, batch: Batch) -> None:
        bad = self._fallback.diverged_weight()
        if bad:
            is_finite = bool(self.learner.module.get_parameter(bad).isfinite().all())
            how = "has grown too large" if is_finite else "is no longer finite"
            raise self._divergence(f"weight '{self.names.get(bad, bad)}' {how}", batch)
        if (self.step + 1) % SNAPSHOT_STEPS == 0:
            self._fallback.keep()

    def _divergence(self, what: str, batch: Batch) -> BackendError:
        number, place = divmod(self.step, self.loader.steps_per_pass)
        bad = np.concatenate([part.indices[_not_finite(part)] for part in batch.of_one_size()])
        mine = f", in which image {bad[0]} is not finite" if len(bad) else ""
        cause = next(filter(None, self.team.gather(mine)), "")
        step = f"step {self.step + 1} (batch {place + 1} of pass {number + 1}{cause})"
        if cause:
            self._fallback.restore(what)
            return BackendError(
                f"{what} at {step}", hint="remove NaN and infinity from the training data"
            )
        return DivergedError(f"{what} at {step}")

    def _stats(self, rate: float) -> EpochStats:
        return EpochStats(
            epoch=self.step / self.loader.steps_per_pass,
            epochs=self.plan.epochs,
            loss=self._tally.mean_loss(),
            learning_rate=rate,
            images_per_second=self._tally.speed(),
            seconds=self.seconds,
        )

    def _result(self) -> FitResult:
        return FitResult(
            epochs=self.step / self.loader.steps_per_pass,
            seconds=self.seconds,
            loss=self._tally.mean_loss(),
            steps=self.step,
            images_per_second=self.images / self.seconds if self.seconds > 0 else 0.0,
            is_stopped=self.step < self.plan.total_steps,
            trouble=self._fallback.describe(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state for :meth:`load_state_dict`; the trainer saves the weights."""
        plan = self.plan
        return {
            "plan": [plan.number, plan.total_steps, plan.learning_rate, plan.schedule],
            "step": self.step,
            "images": self.images,
            "seconds": self.seconds,
            "tally": [self._tally.loss, self._tally.steps, self._tally.images, self._tally.seconds],
            "optimizer": self.optimizer.state_dict(),
            "fallback": self._fallback.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state.

        Raises:
            BackendError: The state belongs to a fit with another plan.
        """
        plan = self.plan
        mine = [plan.number, plan.total_steps, plan.learning_rate, plan.schedule]
        if list(state["plan"]) != mine:
            raise BackendError(
                "the checkpoint belongs to another fit: "
                f"[number, steps, learning rate, schedule] {list(state['plan'])}, not {mine}",
                hint="resume with the options of the interrupted run",
            )
        self.step, self.images = state["step"], state["images"]
        self.seconds += state["seconds"]
        loss, steps, images, seconds = state["tally"]
        self._tally = Tally(loss=loss, steps=steps, images=images, seconds=seconds)
        self.optimizer.load_state_dict(state["optimizer"])
        if "fallback" in state:  # absent in states of older versions, which ended at divergence
            self._fallback.load_state_dict(state["fallback"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def _not_finite(batch: Batch) -> npt.NDArray[np.bool_]:
    """Return a mask of the examples with a value that is not finite, in any input."""
    examples = batch.examples
    found = np.zeros(len(batch.indices), np.bool_)
    for name, value in examples.inputs.items():
        axis = examples.axis(name)
        if axis is not None and value.dtype.kind == "f":
            others = tuple(other for other in range(value.ndim) if other != axis)
            found |= ~np.isfinite(value).all(axis=others)
    return found
