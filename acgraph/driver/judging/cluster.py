"""Points of a search judged by the workers of a Dask cluster, on this host or on others."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from acgraph.driver.judging.proxy import Proxy
from acgraph.driver.judging.workers import PointEvaluators, Task, open_task
from acgraph.errors import BackendError, UsageError
from acgraph.search import Point
from acgraph.version import __version__

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

#: Seconds that a scheduler has to answer, and the first worker to be there.
TIMEOUT_S = 5.0


class PointEvaluator:
    """Judges points of one task; Dask keeps one on each worker for as long as it is held here.

    What a worker opens lives with its copy of this, so that it is gone as soon as the search ends,
    however it ends. A copy that Dask moves or spills to disk is the task alone.
    """

    def __init__(self, task: Task) -> None:
        """Remember the task; it is opened where the first point is judged."""
        self._task = task
        self._proxy: Proxy | None = None
        # A worker may run several points at once, but a proxy has one network.
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["PointEvaluator"], tuple[Task]]:
        return PointEvaluator, (self._task,)

    def __call__(self, point: Point, threads: int) -> float:
        """Score a point on so many threads of the CPU; the first call says how many."""
        with self._lock:
            if self._proxy is None:
                self._proxy = open_task(self._task.on_threads(threads))
            return self._proxy(point)


def check_cluster(address: str) -> None:
    """Find out whether a search can be judged by the cluster at an address.

    Raises:
        UsageError: the package is not installed, no scheduler answers, it has no worker, or one
            that has not this version of acgraph.
    """
    with _connect(address):
        pass


@contextmanager
def cluster_evaluators(address: str, make: Callable[[], Task]) -> Iterator[PointEvaluators]:
    """Give a function that judges points on all workers of a cluster.

    Workers get the task once, and forget it with the end of the block.

    Args:
        address: Of the scheduler, as ``tcp://host:8786``.
        make: Packs the task.

    Raises:
        UsageError: as of :func:`check_cluster`.
    """
    with _connect(address) as client:
        from distributed import KilledWorker

        judge = client.scatter(PointEvaluator(make()), broadcast=True, hash=False)

        def evaluate_many(points: Sequence[Point]) -> list[float]:
            # Not pure: Dask would hash the points, and remember scores that nobody asks for again.
            futures = [client.submit(_judge, judge, point, pure=False) for point in points]
            try:
                return list(client.gather(futures))
            except KilledWorker as error:
                raise BackendError(
                    "a point of the search ended every worker that tried it",
                    hint="give workers more memory: each holds the network and its images",
                ) from error
            except CancelledError as error:
                raise BackendError(
                    f"the cluster at {address} was lost: its scheduler, or all workers, ended",
                    hint="start it anew, and go on with --resume",
                ) from error

        count = len(client.nthreads())
        log.info("search: %d workers of %s", count, address)
        yield PointEvaluators(at_once=count, evaluate_many=evaluate_many)


@contextmanager
def _connect(address: str) -> Iterator["Client"]:
    """Connect to a scheduler whose workers are fit to judge; close the connection at the end."""
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
    """See whether a scheduler answers; a client that gets no answer cannot even be closed."""
    try:
        # In a thread: a notebook's own loop runs in this one.
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
            hint=f"install acgraph {__version__} where the worker runs, as here",
        )


def _version() -> str:
    """Of acgraph on a worker."""
    return __version__


def _judge(judge: PointEvaluator, point: Point) -> float:
    """Score a point on a worker, with the threads that it was started with."""
    from distributed import get_worker

    return judge(point, get_worker().state.nthreads)


__all__ = ["PointEvaluator", "check_cluster", "cluster_evaluators"]
