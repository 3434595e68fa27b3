"""Iterate over batches within a time limit."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def within_time(batches: Iterable[T], seconds: float | None) -> Iterator[T]:
    """Yield batches until the time limit; the first one in any case.

    Args:
        batches: The batches, of any type.
        seconds: The time limit in seconds; None for no limit.
    """
    begin = time.perf_counter()
    for number, batch in enumerate(batches):
        if number and seconds is not None and time.perf_counter() - begin >= seconds:
            return
        yield batch
