"""Read data for as long as there is time."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def within_time(batches: Iterable[T], seconds: float | None) -> Iterator[T]:
    """Yield batches until time is over; the first in any case.

    Args:
        batches: Of anything.
        seconds: None for no limit.
    """
    begin = time.perf_counter()
    for number, batch in enumerate(batches):
        if number and seconds is not None and time.perf_counter() - begin >= seconds:
            return
        yield batch
