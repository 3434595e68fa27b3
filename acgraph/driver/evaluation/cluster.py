"""Evaluate points of a search on the workers of a Dask cluster, on this host or on others."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from acgraph.driver.evaluation.proxy import Proxy
from acgraph.driver.evaluation.workers import PointEvaluators, Task, open_task
from acgraph.errors import BackendError, UsageError
from acgraph.search import Point
from acgraph.version import __version__

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

#: Timeout in seconds for the scheduler to answer, and for the first worker to connect.
TIMEOUT_S = 5.0


class PointEvaluator:
    """Evaluates points of one task; Dask keeps a copy on each worker while this one is referenced.

    What a worker opens belongs to its copy, and is therefore released as soon as the search ends,
    even by an error. If Dask moves a copy or spills it to disk, only the task is serialised.
    """

    def __init__(self, task: Task) -> None:
        """Store the task, which is opened when the first point is evaluated."""
        self._task = task
        self._proxy: Proxy | None = None
        # A worker may run several points at once, but a proxy has one network.
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["PointEvaluator"], tuple[Task]]:
        return PointEvaluator, (self._task,)

    def __call__(self, point: Point, threads: int) -> float:
        """Score a point on this many CPU threads; the number of the first call is used."""
        with self._lock:
            if self._proxy is None:
                self._proxy = open_task(self._task.on_threads(threads))
            return self._proxy(point)


def check_cluster(address: str) -> None:
    """Check that the cluster at an address can evaluate points of a search.

    Raises:
        UsageError: The package is not installed, no scheduler answers, it has no worker, or a
            worker has another version of acgraph.
    """
    with _connect(address):
        pass


@contextmanager
def cluster_evaluators(address: str, make: Callable[[], Task]) -> Iterator[PointEvaluators]:
    """Context manager for a function that evaluates points on all workers of a cluster.

    The task is sent to the workers once, and released at the end of the block.

    Args:
        address: Address of the scheduler, for instance ``tcp://host:8786``.
        make: Makes the task.

    Raises:
        UsageError: The cluster cannot be used, see :func:`check_cluster`.
    """
    with _connect(address) as client:
        from distributed import KilledWorker

        evaluator = client.scatter(PointEvaluator(make()), broadcast=True, hash=False)

        def evaluate_many(points: Sequence[Point]) -> list[float]:
            # Not pure: Dask would hash the points, and cache scores that are never needed again.
            futures = [client.submit(_score, evaluator, point, pure=False) for point in points]
            try:
                return list(client.gather(futures))
            except KilledWorker as error:
                raise BackendError(
                    "a candidate of the search stopped every worker that evaluated it",
                    hint="give the workers more memory: each of them holds the network and its "
                    "images",
                ) from error
            except CancelledError as error:
                raise BackendError(
                    f"the cluster at {address} was lost: its scheduler or all of its workers "
                    "stopped",
                    hint="start the cluster again, and continue the run with --resume",
                ) from error

        count = len(client.nthreads())
        log.info("search: %d workers of %s", count, address)
        yield PointEvaluators(at_once=count, evaluate_many=evaluate_many)


@contextmanager
def _connect(address: str) -> Iterator["Client"]:
    """Connect to a scheduler with usable workers; close the connection at the end."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError(
            "search.cluster needs a package that is not installed: distributed",
            hint="pip install 'acgraph[cluster]'",
        ) from error
    _reach(address)
    with Client(address, timeout=TIMEOUT_S, set_as_default=False) as client:
        _check_workers(client, address)
        yield client


def _reach(address: str) -> None:
    """Check that a scheduler answers; a client that gets no answer cannot even be closed."""
    try:
        # In another thread, as a notebook's event loop may run in this one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _greet(address)).result()
    except ValueError as error:
        raise UsageError(f"search.cluster: {error}", hint="write it as tcp://host:8786") from error
    except OSError as error:
        raise UsageError(
            f"search.cluster: no scheduler answers at {address}",
            hint="start one with 'dask scheduler', and workers with 'dask worker tcp://HOST:8786'",
        ) from error


async def _greet(address: str) -> None:
    from distributed.comm.core import connect

    comm = await connect(address, timeout=TIMEOUT_S)
    await comm.close()


def _check_workers(client: "Client", address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=TIMEOUT_S)
    except TimeoutError as error:
        raise UsageError(
            f"search.cluster: no worker is connected to {address}",
            hint=f"start one on each host: dask worker {address}",
        ) from error
    for worker, found in sorted(client.run(_version, on_error="return").items()):
        if found == __version__:
            continue
        cannot = isinstance(found, Exception)
        what = f"cannot load acgraph: {found}" if cannot else f"has acgraph {found}"
        raise UsageError(
            f"search.cluster: the worker {worker} {what}",
            hint=f"install acgraph {__version__} on the host of the worker, as on this host",
        )


def _version() -> str:
    """Return the version of acgraph on a worker."""
    return __version__


def _score(evaluator: PointEvaluator, point: Point) -> float:
    """Score a point on a worker, with the number of threads that the worker was started with."""
    from distributed import get_worker

    return evaluator(point, get_worker().state.nthreads)


__all__ = ["PointEvaluator", "check_cluster", "cluster_evaluators"]
