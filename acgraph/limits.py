"""Limits: the memory that the content of a file may take, and the number of threads.

A small file can describe a huge value: a compressed array, a shape, functions that call each other.
What such a value would take is computed first, and compared with this limit.
"""

import os
import re
from pathlib import Path

from acgraph.diagnostics import Location
from acgraph.errors import AcgraphError, UsageError

#: Environment variable that sets the limit, as a number of bytes, or for example ``6G``.
VARIABLE = "ACGRAPH_MAX_MEMORY"
#: Largest number of threads, and of processes, that may be asked for.
MAX_THREADS, MAX_WORKERS = 1024, 256
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_TEXT = re.compile(r"(\d{1,15})([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
#: Share of the memory of the machine that is the limit by default.
_SHARE = 0.5
_CGROUP = Path("/sys/fs/cgroup/memory.max")
#: The limit where the system does not say how much memory it has.
_UNKNOWN = 4 << 30


def memory_limit() -> int:
    """Return the limit in bytes: by default, half of the memory of this machine or container.

    Raises:
        UsageError: The variable is set to something else than a size.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return int(_SHARE * _machine_bytes())
    match = _TEXT.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise UsageError(f"{VARIABLE} is '{text}', not a size", hint="write for example 6G")
    return int(match[1]) * _UNITS[match[2].upper()]


def is_set() -> bool:
    """Return whether the user set the limit."""
    return bool(os.environ.get(VARIABLE, "").strip())


def check_memory(
    needed: int,
    what: str,
    where: Location,
    error: type[AcgraphError],
) -> None:
    """Refuse what needs more memory than the limit, before it is allocated.

    Args:
        needed: The bytes that it needs.
        what: What needs them, as the subject of a sentence.
        where: The place that the error names.
        error: The class of the error.

    Raises:
        AcgraphError: It needs more; of the given class.
    """
    limit = memory_limit()
    if needed > limit:
        raise error(
            f"{what} would take {gibibytes(needed)} of memory, and the limit is {gibibytes(limit)}",
            location=where,
            hint=f"check the file; {VARIABLE}=16G, for example, sets another limit",
        )


def check_threads(threads: int) -> None:
    """Refuse a number of threads that no machine has: ONNX Runtime would crash.

    Raises:
        UsageError: The number is below 1 or above ``MAX_THREADS``.
    """
    if not 1 <= threads <= MAX_THREADS:
        raise UsageError(f"threads is {threads}", hint=f"give a number from 1 to {MAX_THREADS}")


def gibibytes(number: int) -> str:
    """Format a number of bytes.

    >>> gibibytes(3 << 29), gibibytes(10 << 20), gibibytes(1 << 90)
    ('1.5 GiB', '10.0 MiB', 'more than 1,000,000 GiB')
    """
    if number >= 10**6 << 30:
        return "more than 1,000,000 GiB"
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if number >= 1 << power:
            return f"{number / 2**power:,.1f} {unit}"
    return f"{number} bytes"


def _machine_bytes() -> int:
    """Return the memory of this machine, or of its container if that has less."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return _UNKNOWN
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    text = _CGROUP.read_text().strip() if _CGROUP.is_file() else ""
    return min(found, int(text)) if text.isdigit() else found
