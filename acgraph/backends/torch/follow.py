"""Several processes, one run: the leader does everything, the others join in when it trains.

Searches, choices by timing, measurements and files are the leader's alone, so that processes never
disagree. Before a fit it tells the others all that the fit depends on; what they then hold is the
same, and stays so, because every step applies the same averaged gradient.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from acgraph.backends.torch.team import Team, team
from acgraph.backends.training import TrainConfig
from acgraph.data import Dataset
from acgraph.errors import AcgraphError
from acgraph.ir import InputSizes, Model, model_from_proto, proto_from_model

log = logging.getLogger(__name__)


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
    """

    model: Any
    sizes: InputSizes | None
    teacher: Any
    config: TrainConfig
    images: int
    state: Mapping[str, Any]
    options: Mapping[str, Any]


def announce(
    others: Team,
    model: Model,
    teacher: Model | None,
    train: Dataset,
    config: TrainConfig,
    state: Mapping[str, Any],
    options: Mapping[str, Any],
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
        )
    )


def follow(open_train: Callable[[Model], Dataset]) -> None:
    """Join every fit of the leader until it dismisses this process.

    Args:
        open_train: Opens the leader's training images, given a form of its model.

    Raises:
        AcgraphError: the images cannot be opened, or differ in number.
    """
    # Late: the trainer announces, and so imports this module.
    from acgraph.backends.torch.trainer import TorchTrainer

    train: Dataset | None = None
    while (job := team().tell(None)) is not None:
        model = model_from_proto(job.model)
        if train is None:
            train = open_train(model)
        teacher = None if job.teacher is None else model_from_proto(job.teacher)
        for each in filter(None, (model, teacher)):
            each.sizes = job.sizes
        trainer = TorchTrainer(model, train, teacher=teacher, config=job.config)
        trainer.load_state_dict(job.state)
        try:
            trainer.join(job.images, **job.options)
        except AcgraphError as error:
            log.debug("the leader reports: %s", error)


@contextmanager
def leading() -> Iterator[None]:
    """Dismiss the others at the end, whether all went well or not."""
    try:
        yield
    finally:
        team().tell(None)
