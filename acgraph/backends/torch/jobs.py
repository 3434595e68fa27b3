"""The description of a fit that the leader broadcasts to the other processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acgraph.backends.torch.fit_parts import FitOptions
from acgraph.backends.torch.team import Team
from acgraph.backends.training import TrainConfig
from acgraph.data import Dataset
from acgraph.ir import InputSizes, Model, proto_from_model
from acgraph.tasks import OutputTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One fit.

    Attributes:
        model: ``ModelProto`` of the model.
        sizes: Resolved input sizes of the model, if known.
        teacher: ``ModelProto`` of the teacher, or None.
        config: Options of training.
        images: Number of training images of the leader.
        state: Weights, mode and progress of the leader's trainer.
        options: Arguments of the fit.
        tasks: Task of each output; None guesses it.
    """

    model: Any
    sizes: InputSizes | None
    teacher: Any
    config: TrainConfig
    images: int
    state: Mapping[str, Any]
    options: FitOptions
    tasks: tuple[OutputTask, ...] | None = None


def broadcast_fit(
    team: Team,
    model: Model,
    teacher: Model | None,
    train: Dataset,
    config: TrainConfig,
    state: Mapping[str, Any],
    options: FitOptions,
    tasks: Sequence[OutputTask] | None = None,
) -> None:
    """Broadcast a fit to the other processes, if there are any."""
    if team.size == 1:
        return
    team.broadcast(
        Job(
            model=proto_from_model(model),
            sizes=model.sizes,
            teacher=None if teacher is None else proto_from_model(teacher),
            config=config,
            images=len(train),
            state=state,
            options=options,
            tasks=None if tasks is None else tuple(tasks),
        )
    )
