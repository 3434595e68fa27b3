"""Points judged in other processes come to what they come to in this one."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from acgraph.backends.torch import backend as torch_backend
from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.evaluation import workers
from acgraph.driver.stages import round_search as module
from acgraph.errors import BackendError, UsageError
from acgraph.search import Problem, SearchResult

Configure = Callable[..., CompressConfig]


def test_a_run_of_several_processes_takes_no_workers(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_backend, "team", lambda: SimpleNamespace(size=2))
    with pytest.raises(
        UsageError, match=r"search\.workers is 2, but 2 processes already train together; leave"
    ):
        compress(configure("search.workers=2"))
    workers.check_workers(1, 2)


def test_two_processes_find_what_one_does(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    opened = workers.ProcessPoolExecutor

    def counted(count: int, *arguments: Any, **options: Any) -> Any:
        asked.append(count)
        return opened(count, *arguments, **options)

    monkeypatch.setattr(workers, "ProcessPoolExecutor", counted)
    monkeypatch.setattr("acgraph.driver.evaluation.images.PROXY_IMAGES", 40)
    settings = ("purify=false", "search.evaluations=5", "search.anneal.batch=2")
    one = compress(configure(*settings, epochs=0))
    assert asked == []
    two = compress(configure(*settings, "search.workers=2", epochs=0))
    assert asked == [2]
    assert two.search == one.search
    assert len(two.search) == 5
    assert two.rounds[0].rate == one.rounds[0].rate
    assert multiprocessing.active_children() == []


def test_an_interrupt_ends_all_processes(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[int] = []

    def stopped(problem: Problem, *_: object, **__: object) -> SearchResult:
        assert problem.evaluate_many is not None
        assert len(problem.evaluate_many([problem.whole, problem.smallest])) == 2
        running.append(len(multiprocessing.active_children()))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "search", stopped)
    with pytest.raises(KeyboardInterrupt):
        compress(configure("search.workers=2", epochs=0))
    assert running == [2]
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_does_not_reach_processes_that_still_start(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted: set[int] = set()
    done = threading.Event()

    def interrupt() -> None:
        while not done.is_set():
            for process in multiprocessing.active_children():
                if process.pid is not None and process.is_alive():
                    os.kill(process.pid, signal.SIGINT)
                    interrupted.add(process.pid)
            time.sleep(0.02)

    def judged(problem: Problem, *_: object, **__: object) -> SearchResult:
        assert problem.evaluate_many is not None
        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            assert len(problem.evaluate_many([problem.whole, problem.smallest])) == 2
        finally:
            done.set()
            thread.join()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "search", judged)
    with pytest.raises(KeyboardInterrupt):
        compress(configure("search.workers=2", epochs=0))
    assert interrupted


def test_a_process_that_dies_is_one_line(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(problem: Problem, *_: object, **__: object) -> SearchResult:
        assert problem.evaluate_many is not None
        problem.evaluate_many([problem.smallest])
        for process in multiprocessing.active_children():
            process.kill()
        problem.evaluate_many([problem.whole])
        raise AssertionError("nobody is left to judge")

    monkeypatch.setattr(module, "search", killed)
    with pytest.raises(BackendError, match=r"a search worker stopped; lower search\.workers"):
        compress(configure("search.workers=2", epochs=0))
    assert multiprocessing.active_children() == []
