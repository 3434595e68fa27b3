"""What the leading process tells the others before a fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acgraph.backends.torch.team import Team
from acgraph.backends.training import TrainConfig
from acgraph.data import Dataset
from acgraph.ir import InputSizes, Model, proto_from_model
from acgraph.tasks import OutputTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One fit, as the leader tells it.

    Attributes:
        model: Proto of what is trained.
        teacher: Proto of what is learnt from, or None.
        config: How to train.
        images: How many training images the leader has.
        state: Weights, mode and progress of the leader's trainer.
        options: Arguments of ``TorchTrainer.fit``.
        tasks: What each output means; None where that is guessed.
    """

    model: Any
    sizes: InputSizes | None
    teacher: Any
    config: TrainConfig
    images: int
    state: Mapping[str, Any]
    options: Mapping[str, Any]
    tasks: tuple[OutputTask, ...] | None = None


def announce(
    others: Team,
    model: Model,
    teacher: Model | None,
    train: Dataset,
    config: TrainConfig,
    state: Mapping[str, Any],
    options: Mapping[str, Any],
    tasks: Sequence[OutputTask] | None = None,
) -> None:
    """Tell the others to join a fit; nothing where there are none."""
    if others.size == 1:
        return
    others.tell(
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
