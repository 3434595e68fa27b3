"""Evaluate points of a search in worker processes, each with its share of the threads."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, Self

import numpy as np

from acgraph.backends.interface import Trainer
from acgraph.backends.select import training_backend
from acgraph.config import CompressConfig
from acgraph.data import Batch, Dataset, Indices, Labels, Subset, cut_indices, spread_indices
from acgraph.driver.evaluation.proxy import Proxy
from acgraph.driver.network import Network
from acgraph.driver.space.reconstruction import WeightReconstruction
from acgraph.driver.space.space import Space, open_space
from acgraph.errors import BackendError, UsageError
from acgraph.ir import InputSizes, LayerBound, Model, model_from_proto, proto_from_model
from acgraph.search import Knob, Point
from acgraph.tasks import OutputTask

log = logging.getLogger(__name__)

EvaluateMany = Callable[[Sequence[Point]], Sequence[float]]


class InMemoryRows(Dataset):
    """Some rows of a dataset, held in memory and addressed by their original indices."""

    def __init__(self, dataset: Dataset, rows: Indices) -> None:
        """Read the rows."""
        self._rows = np.unique(rows)
        self._labels, self._groups = dataset.labels, dataset.groups
        self._batches = [
            (part, dataset.batch(part))
            for part in cut_indices(dataset, self._rows, len(self._rows))
        ]
        self._size = len(dataset)
        self.name, self.layout, self.class_names = dataset.name, dataset.layout, dataset.class_names

    @property
    def labels(self) -> Labels | None:
        """Labels of all examples, in memory or not."""
        return self._labels

    def __len__(self) -> int:
        return self._size

    @property
    def groups(self) -> Indices | None:
        """Group numbers of all examples, in memory or not."""
        return self._groups

    def batch(self, indices: Indices) -> Batch:
        """Return rows that are in memory.

        Raises:
            BackendError: One of them is not.
        """
        for rows, batch in self._batches:
            found = np.minimum(np.searchsorted(rows, indices), len(rows) - 1)
            if (rows[found] == indices).all():
                return batch.take(found)
        raise BackendError("a search worker did not receive all images that it needs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The data with which a worker process evaluates points as its parent would.

    Attributes:
        model: The serialised ``ModelProto`` of the graph.
        sizes: Input sizes of the graph and the original.
        bounds: How much of each layer must be kept, as the user requested.
        teacher: The serialised original, to measure agreement with; None if labels are used.
        state: Weights and mode of the parent's trainer.
        config: The options of the run, with the number of threads of one process.
        reconstruction: The measured inputs of layers, or None.
        saves_time: As in the space.
        knobs: The knobs of the space, to check that the worker finds the same ones.
        train: Images to recalibrate BatchNormalization on.
        select: Images to evaluate on.
        images: As in the proxy.
        tasks: The task of each output.
    """

    model: Any
    sizes: InputSizes | None
    bounds: Mapping[str, LayerBound]
    teacher: Any
    state: dict[str, Any]
    config: CompressConfig
    reconstruction: WeightReconstruction | None
    saves_time: bool
    knobs: tuple[Knob, ...]
    train: Dataset
    select: Dataset
    images: int | None = None
    tasks: tuple[OutputTask, ...] | None = None

    def on_threads(self, threads: int) -> Self:
        """Return the same task for a process with this number of CPU threads."""
        mine = replace(self.config.train, threads=threads)
        return replace(self, config=self.config.model_copy(update={"train": mine}))


@dataclass(frozen=True, slots=True, kw_only=True)
class PointEvaluators:
    """The workers that evaluate points.

    Attributes:
        at_once: Number of points that they evaluate in parallel.
        evaluate_many: Returns the scores of several points, in their order; None if this process
            evaluates them itself.
    """

    at_once: int = 1
    evaluate_many: EvaluateMany | None = None


def make_task(
    config: CompressConfig,
    trainer: Trainer,
    space: Space,
    teacher: Model,
    train: Dataset,
    select: Dataset,
    limit: int,
    images: int | None = None,
    tasks: Sequence[OutputTask] | None = None,
) -> Task:
    """Make the task for a proxy of this trainer, space and data."""
    threads = max(1, (config.threads or os.cpu_count() or 1) // config.search.workers)
    mine = replace(trainer.config, threads=threads)
    batches, size = config.search.recalibrate, config.train.batch_size
    order = np.random.default_rng(mine.seed).permutation(len(train))
    # A trainer checks its outputs on the first example.
    rows = np.append(order[: batches * size], 0).astype(np.int64)
    evaluated = spread_indices(len(select), limit)
    return Task(
        model=proto_from_model(space.dependency.model),
        sizes=space.dependency.model.sizes,
        bounds=space.dependency.model.bounds,
        teacher=proto_from_model(teacher) if select.labels is None else None,
        state=trainer.state_dict(),
        config=config.model_copy(update={"train": mine}),
        reconstruction=space.reconstruction,
        saves_time=space.saves_time,
        knobs=space.knobs,
        train=InMemoryRows(train, rows),
        select=Subset(InMemoryRows(select, evaluated), evaluated),
        images=images,
        tasks=None if tasks is None else tuple(tasks),
    )


def open_task(task: Task) -> Proxy:
    """Make the proxy of a task.

    Raises:
        BackendError: The space of the graph differs from that of the parent process.
    """
    model = model_from_proto(task.model)
    teacher = None if task.teacher is None else model_from_proto(task.teacher)
    for each in filter(None, (model, teacher)):
        each.sizes = task.sizes
    model.bounds = task.bounds
    trainer = training_backend().trainer(
        model, task.train, teacher=teacher, config=task.config.train, tasks=task.tasks
    )
    trainer.load_state_dict(task.state)
    space = replace(
        open_space(Network(model), task.config),
        reconstruction=task.reconstruction,
        saves_time=task.saves_time,
    )
    if space.knobs != task.knobs:
        raise BackendError("a search worker found another search space than the main process")
    return Proxy(
        trainer, space, task.select, limit=len(task.select),
        batches=task.config.search.recalibrate, images=task.images,
    )  # fmt: skip


def check_workers(workers: int, processes: int) -> None:
    """Reject workers if the run itself is distributed: they would join its process group.

    Raises:
        UsageError: The run is distributed and workers are requested.
    """
    if workers > 1 and processes > 1:
        raise UsageError(
            f"search.workers is {workers}, but {processes} processes already train together",
            hint="leave search.workers at 1",
        )


@contextmanager
def evaluators(workers: int, make: Callable[[], Task]) -> Iterator[PointEvaluators]:
    """Context manager for a function that evaluates points in worker processes; none for one.

    The processes end with the block, even after an error, and with this process, even if it is
    killed.

    Args:
        workers: Number of processes.
        make: Makes the task.
    """
    if workers == 1:
        yield PointEvaluators()
        return
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(make(), theirs))

    def submit(point: Point) -> Future[float]:
        with _interrupts_blocked():  # a process starts when there is a point for it
            return pool.submit(_evaluate, point)

    def evaluate_many(points: Sequence[Point]) -> list[float]:
        try:
            return [score.result() for score in [submit(point) for point in points]]
        except BrokenProcessPool as error:
            raise BackendError(
                "a search worker stopped",
                hint="lower search.workers: each worker holds a copy of the network and its images",
            ) from error

    log.info("search: %d processes", workers)
    try:
        yield PointEvaluators(at_once=workers, evaluate_many=evaluate_many)
    finally:
        # The workers detect the end of the pipe and exit at once, even while evaluating a point.
        ours.close()
        pool.shutdown(cancel_futures=True)
        theirs.close()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in the block, so that processes started there inherit the blocked signal.

    This process receives a pending interrupt at the end of the block. On systems without signal
    masks, nothing is blocked.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_proxy: list[Proxy] = []
"""The proxy of this worker process, as a list of one."""


def _begin(task: Task, parent: Connection) -> None:
    """Start a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()
    _proxy[:] = [open_task(task)]


def _exit_with(parent: Connection) -> None:
    """Exit this process as soon as the other end of a pipe is closed."""
    try:
        parent.recv()
    except (EOFError, OSError):
        os._exit(0)


def _evaluate(point: Point) -> float:
    return _proxy[0](point)


__all__ = [
    "EvaluateMany", "InMemoryRows", "PointEvaluators", "Task", "check_workers", "evaluators",
    "make_task", "open_task",
]  # fmt: skip
