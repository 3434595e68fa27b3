"""Run the fits of a trainer in all processes, and save and resume them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from acgraph.backends.torch.checks import check_team
from acgraph.backends.torch.constraints import find_proximal_terms, find_removed
from acgraph.backends.torch.distillation import Distillation
from acgraph.backends.torch.fit_parts import FitOptions, FitPlan, Learner
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.jobs import broadcast_fit
from acgraph.backends.torch.loader import Loader, count_steps
from acgraph.backends.torch.loop import Fit
from acgraph.backends.torch.setup import Setup
from acgraph.backends.torch.state import pack, unpack
from acgraph.backends.torch.team import Team
from acgraph.backends.training import EpochStats, FitResult, ProgressSink, TrainConfig
from acgraph.data import Dataset
from acgraph.errors import BackendError
from acgraph.ir import Model

OnEpoch = Callable[[EpochStats], None]


@dataclass(slots=True, kw_only=True)
class FitRunner:
    """Runs one fit after another on the same network.

    Attributes:
        model: The model from which the module was made.
        module: The network, on its device.
        teacher: The model of the teacher, if any.
        distillation: The loss.
        setup: Mode and micro-batch size.
        config: Options of training.
        device: Device of the network.
        team: The processes that train together.
        progress: Receives the progress of the fits.
        completed: Number of completed fits.
        running: The running fit, if any.
    """

    model: Model
    module: GraphModule
    teacher: Model | None
    distillation: Distillation
    setup: Setup
    config: TrainConfig
    device: torch.device
    team: Team
    progress: ProgressSink
    completed: int = field(default=0, init=False)
    running: Fit | None = field(default=None, init=False)
    _interrupted: Mapping[str, Any] | None = field(default=None, init=False)

    def run(
        self, train: Dataset, options: FitOptions, on_epoch: OnEpoch | None, description: str
    ) -> FitResult:
        """Run a fit as the leader: broadcast it to the other processes, and train with them.

        Args:
            train: Training images.
            options: Arguments of the fit.
            on_epoch: Called after every pass, and every few minutes within a long pass.
            description: Name of the fit for ``progress``.

        Raises:
            BackendError: An unknown weight, a mask or target that does not fit its weight, or
                training failed.
            DivergedError: Training diverged at every learning rate.
            UsageError: The options do not suit the data or the number of processes.
        """
        self.distillation.check()
        with self.setup.settings():
            self.setup.prepare(train)
            # An error must be raised before the other processes start to train.
            find_removed(self.module, options.masks or {})
            find_proximal_terms(self.module, options.proximal)
            has_own_loss = self.distillation.user_loss is not None
            check_team(self.team, train, self.config, has_own_loss=has_own_loss)
            state = {**self.state_dict(), "fit": self._interrupted}
            broadcast_fit(
                self.team, self.model, self.teacher, train, self.config, state, options,
                self.distillation.tasks or None,
            )  # fmt: skip
            return self._run(train, options, on_epoch, description)

    def join(self, train: Dataset, images: int, options: FitOptions) -> None:
        """Take part in a fit of the leader.

        Args:
            train: Training images.
            images: Number of training images of the leader.
            options: Arguments of the fit.

        Raises:
            BackendError: The number of images differs from the leader's, or training failed.
            DivergedError: Training diverged at every learning rate.
        """
        if len(train) != images:
            raise BackendError(
                f"process {self.team.rank} has {len(train)} training images, the leader {images}",
                hint="give the same data on every host",
            )
        with self.setup.settings():
            self.setup.prepare(train)
            self._run(train, options, None, "")

    def _run(
        self, train: Dataset, options: FitOptions, on_epoch: OnEpoch | None, description: str
    ) -> FitResult:
        self.distillation.measure_scales(train, self.setup.images_at_once(train), self.device)
        self.running = self._fit(train, options)
        self.module.is_frozen = options.keep_statistics
        try:
            if self._interrupted is not None:
                self.running.load_state_dict(self._interrupted)
                self._interrupted = None
            result = self.running.run(self.progress, description, on_epoch)
        finally:
            self.running = None
            self.module.is_frozen = False
        self.completed += 1
        return result

    def _fit(self, train: Dataset, options: FitOptions) -> Fit:
        plan = FitPlan(
            number=self.completed,
            epochs=options.epochs,
            total_steps=round(options.epochs * count_steps(train, self.config.batch_size)),
            learning_rate=options.learning_rate or self.config.learning_rate,
            schedule=options.schedule or self.config.schedule,
        )
        rank, size = self.team.rank, self.team.size
        return Fit(
            learner=self._learner(train),
            plan=plan,
            loader=Loader(train, self.config, plan.number, rank=rank, size=size),
            removed=find_removed(self.module, options.masks or {}),
            proximal_terms=find_proximal_terms(self.module, options.proximal),
            names=self.module.parameter_names(),
            time_budget_s=options.time_budget_s,
            team=self.team,
            micro_batch=self.setup.micro_batch,
            keep_statistics=options.keep_statistics,
        )

    def _learner(self, train: Dataset) -> Learner:
        mode = self.setup.mode
        return Learner(
            module=self.module,
            forward=self.setup.forward,
            loss=self.distillation.loss(),
            teacher=self.distillation.teacher_outputs(train, mode),
            mode=mode,
            device=self.device,
            config=self.config,
            input_names=self.module.input_names,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the weights and the progress, including that of the running fit."""
        return pack(self.module, self.config.seed, self.setup, self.completed, self.running)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a saved state; the next fit continues the one that was running.

        Raises:
            BackendError: The state belongs to another model or another seed.
        """
        found = unpack(state, self.module, self.config.seed, self.model.source)
        if found.mode is not None:
            self.setup.restore(found.mode, size=found.micro_batch)
        self.completed, self._interrupted = found.fits, found.fit
