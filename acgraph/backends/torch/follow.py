"""Training in several processes: the leader runs everything, the others take part in its fits.

Only the leader searches, times, measures and writes files, so that the processes cannot disagree.
Before a fit it broadcasts everything that the fit depends on. All processes then have the same
weights, and keep the same weights, because each step applies the same averaged gradient.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from acgraph.backends.torch.team import team
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.data import Dataset
from acgraph.errors import AcgraphError
from acgraph.ir import Model, model_from_proto

log = logging.getLogger(__name__)


def follow(open_train: Callable[[Model], Dataset]) -> None:
    """Take part in every fit of the leader until it releases this process.

    Args:
        open_train: Opens the training images, given the model that the leader trains.

    Raises:
        AcgraphError: The images cannot be opened, or their number differs from the leader's.
    """
    train: Dataset | None = None
    while (job := team().broadcast(None)) is not None:
        model = model_from_proto(job.model)
        if train is None:
            train = open_train(model)
        teacher = None if job.teacher is None else model_from_proto(job.teacher)
        for each in filter(None, (model, teacher)):
            each.sizes = job.sizes
        trainer = TorchTrainer(model, train, teacher=teacher, config=job.config, tasks=job.tasks)
        trainer.load_state_dict(job.state)
        try:
            trainer.join(job.images, job.options)
        except AcgraphError as error:
            log.debug("the fit failed; the leader reports the error: %s", error)


@contextmanager
def leading() -> Iterator[None]:
    """Release the other processes at the end, even after an error."""
    try:
        yield
    finally:
        team().broadcast(None)
