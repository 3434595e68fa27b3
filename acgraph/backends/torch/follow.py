"""Several processes, one run: the leader does everything, the others join in when it trains.

Searches, choices by timing, measurements and files are the leader's alone, so that processes never
disagree. Before a fit it tells the others all that the fit depends on; what they then hold is the
same, and stays so, because every step applies the same averaged gradient.
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
    """Join every fit of the leader until it dismisses this process.

    Args:
        open_train: Opens the leader's training images, given a form of its model.

    Raises:
        AcgraphError: the images cannot be opened, or differ in number.
    """
    train: Dataset | None = None
    while (job := team().tell(None)) is not None:
        model = model_from_proto(job.model)
        if train is None:
            train = open_train(model)
        teacher = None if job.teacher is None else model_from_proto(job.teacher)
        for each in filter(None, (model, teacher)):
            each.sizes = job.sizes
        trainer = TorchTrainer(model, train, teacher=teacher, config=job.config, tasks=job.tasks)
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
