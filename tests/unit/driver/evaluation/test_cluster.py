"""Points judged by a Dask cluster come to what they come to in one process; trouble is one line."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster

from acgraph.config import CompressConfig
from acgraph.driver import opening
from acgraph.driver.compress import compress
from acgraph.driver.evaluation import cluster as module
from acgraph.driver.evaluation.cluster import check_cluster, cluster_evaluators
from acgraph.driver.evaluation.proxy import Proxy
from acgraph.errors import BackendError, UsageError

Configure = Callable[..., CompressConfig]
NOBODY = "tcp://127.0.0.1:9"


def _start(**options: Any) -> LocalCluster:
    here = {"dashboard_address": None, "host": "127.0.0.1", "protocol": "tcp"}
    return LocalCluster(**(here | {"threads_per_worker": 1} | options))


@pytest.fixture
def processes() -> Iterator[LocalCluster]:
    """Two workers in processes of their own."""
    with _start(n_workers=2, processes=True) as started:
        yield started


@pytest.fixture
def inside() -> Iterator[LocalCluster]:
    """A worker with two threads in this process."""
    with _start(n_workers=1, threads_per_worker=2, processes=False) as started:
        yield started


def _is_left_clean(cluster: LocalCluster) -> bool:
    """Whether nothing and nobody is left on a scheduler, soon."""
    scheduler: Any = cluster.scheduler
    for _ in range(100):
        clients = [name for name in scheduler.clients if name.startswith("Client-")]
        if not scheduler.tasks and not clients:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_a_cluster_finds_what_one_process_does(
    configure: Configure, processes: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acgraph.driver.evaluation.images.PROXY_IMAGES", 40)
    settings = ("purify=false", "search.evaluations=5")
    one = compress(configure(*settings, "search.anneal.batch=2", epochs=0))

    def judged_here(*_: object) -> float:
        raise AssertionError("a point was judged in this process")

    monkeypatch.setattr(Proxy, "__call__", judged_here)
    address = processes.scheduler_address
    # Without a batch stated: it is as large as the cluster.
    two = compress(configure(*settings, f"search.cluster={address}", epochs=0))
    assert two.search == one.search
    assert len(two.search) == 5
    assert two.rounds[0].rate == one.rounds[0].rate
    assert _is_left_clean(processes)


class _FakeTask:
    """Remembers only how many threads it is for."""

    def __init__(self, threads: int = 0) -> None:
        self.threads = threads

    def on_threads(self, threads: int) -> "_FakeTask":
        return _FakeTask(threads)


PACKED: Any = _FakeTask()


def test_a_worker_opens_the_task_once_and_answers_in_order(
    inside: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def opened(task: _FakeTask) -> Callable[[tuple[int, ...]], float]:
        threads.append(task.threads)
        lock = threading.Lock()

        def score(point: tuple[int, ...]) -> float:
            assert lock.acquire(blocking=False), "two points at once in one proxy"
            time.sleep(0.02 * (4 - sum(point)))
            lock.release()
            return float(sum(point))

        return score

    monkeypatch.setattr(module, "open_task", opened)
    with cluster_evaluators(inside.scheduler_address, lambda: PACKED) as judges:
        assert judges.at_once == 1
        assert judges.evaluate_many is not None
        assert judges.evaluate_many([(1,), (0,), (3,), (2,)]) == [1.0, 0.0, 3.0, 2.0]
        assert judges.evaluate_many([(3,), (3,)]) == [3.0, 3.0]
    assert threads == [2]
    assert _is_left_clean(inside)


@pytest.mark.parametrize(
    "error", [BackendError("found another search space"), KeyboardInterrupt("stop")]
)
def test_an_error_leaves_nothing_on_the_cluster(
    error: BaseException, inside: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(_: object) -> Callable[[object], float]:
        if isinstance(error, BackendError):
            raise error
        return lambda _: 1.0

    def judged() -> None:
        with cluster_evaluators(inside.scheduler_address, lambda: PACKED) as judges:
            assert judges.evaluate_many is not None
            assert judges.evaluate_many([(1,)]) == [1.0]
            raise error

    monkeypatch.setattr(module, "open_task", opened)
    with pytest.raises(type(error), match=str(error)):
        judged()
    assert _is_left_clean(inside)


@pytest.mark.parametrize(
    ("failures", "message"),
    [
        (
            0,
            (
                "a candidate of the search stopped every worker that evaluated it; give the "
                "workers more memory"
            ),
        ),
        (
            9,
            (
                "the cluster at tcp.* was lost: its scheduler or all of its workers stopped; "
                "start the cluster again"
            ),
        ),
    ],
)
def test_a_worker_that_dies_for_good_is_one_line(
    failures: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> float:
        os._exit(1)

    monkeypatch.setattr(module, "_score", dies)
    packed: Any = "a task that nobody opens"

    def judged(address: str) -> None:
        with cluster_evaluators(address, lambda: packed) as judges:
            assert judges.evaluate_many is not None
            judges.evaluate_many([(1,)])

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": failures}),
        _start(n_workers=1, processes=True) as started,
        pytest.raises(BackendError, match=message) as caught,
    ):
        judged(started.scheduler_address)
    assert "\n" not in str(caught.value)


def test_a_worker_that_dies_once_costs_nothing(
    processes: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = str(tmp_path / "died")

    def dies_once(_: object, point: tuple[int, ...]) -> float:
        # Only one of two workers that start together creates the file; if both died, the copies
        # of the task would be gone, too.
        try:
            open(died, "x").close()  # noqa: PTH123
        except FileExistsError:
            return float(point[0])
        os._exit(1)

    monkeypatch.setattr(module, "_score", dies_once)
    packed: Any = "a task that nobody opens"
    with cluster_evaluators(processes.scheduler_address, lambda: packed) as judges:
        assert judges.at_once == 2
        assert judges.evaluate_many is not None
        assert judges.evaluate_many([(3,), (5,)]) == [3.0, 5.0]
    assert Path(died).exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (NOBODY, r"no scheduler answers at tcp://127\.0\.0\.1:9; start one with 'dask scheduler'"),
        ("host", r"search\.cluster: missing port number .*; write it as tcp://host:8786"),
        ("http://host:1", r"search\.cluster: unknown address scheme 'http'.*tcp://host:8786"),
    ],
)
def test_an_address_without_a_scheduler_ends_the_run_before_it_begins(
    address: str, message: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("data was read")

    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(opening, "open_data", read)
    config = configure(f"search.cluster={address}")
    with pytest.raises(UsageError, match=message) as caught:
        compress(config)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert not config.output.exists()


def test_a_scheduler_without_workers_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.5)
    with (
        _start(n_workers=0) as started,
        pytest.raises(UsageError, match=r"no worker is connected to tcp.*: dask worker tcp://127"),
    ):
        check_cluster(started.scheduler_address)


def test_a_worker_of_another_version_is_one_line(
    processes: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "__version__", "99.0")
    with pytest.raises(UsageError, match=r"worker tcp.* has acgraph .*; install acgraph 99\.0"):
        check_cluster(processes.scheduler_address)
    assert _is_left_clean(processes)


def test_a_worker_without_acgraph_is_one_line() -> None:
    hidden = "import sys\nsys.modules['acgraph'] = None"
    with (
        _start(n_workers=1, processes=True, preload=[hidden]) as started,
        pytest.raises(UsageError, match=r"worker tcp.* cannot load acgraph: .*; install") as caught,
    ):
        check_cluster(started.scheduler_address)
    assert "\n" not in str(caught.value)


def test_without_the_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"not installed: distributed; pip install 'acgraph\[cl"):
        check_cluster(NOBODY)


def test_processes_and_a_cluster_are_not_had_together(configure: Configure) -> None:
    with pytest.raises(UsageError, match=r"both search\.workers and search\.cluster are given"):
        configure("search.workers=2", f"search.cluster={NOBODY}")
    assert configure("search.workers=1", f"search.cluster={NOBODY}").search.cluster == NOBODY
