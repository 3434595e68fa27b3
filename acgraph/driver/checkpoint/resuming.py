"""What a resumed run may take from its checkpoints, and how the user resumes it."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from acgraph.config import CompressConfig
from acgraph.data.callables import is_callable_spec
from acgraph.data.in_memory import is_registered
from acgraph.diagnostics import Location
from acgraph.errors import UsageError

#: Functions of the package itself.
_OWN = "acgraph."


def check_named(stored: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> None:
    """Check that the user names the code that a resumed run calls, as at its start.

    A folder of checkpoints may come from somebody else, and continuing a run must not call
    functions that only its files name. A Dask scheduler can run code as well.

    Args:
        stored: The options that the run was started with.
        given: The options that the user gives now.
        folder: The folder of the run.

    Raises:
        UsageError: A function or a scheduler is named in the checkpoints only.
    """
    for words, key, spec in _code(stored):
        section, _, name = key.rpartition(".")
        named: Any = (given.get(section) or {}) if section else given
        if named.get(name) is None:
            raise UsageError(
                f"the run was started with code that only the checkpoints name now: {spec}",
                location=Location(model=str(folder)),
                hint="if you trust it, name it again: acgraph compress --resume "
                f"{shlex.quote(str(folder))} {words}",
            )


def resume_command(config: CompressConfig) -> str:
    """Return the command that continues a run."""
    options = config.model_dump(mode="json")
    words = [words for words, _, _ in _code(options)]
    return " ".join(["acgraph compress --resume", shlex.quote(str(config.output)), *words])


def _code(options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what is or runs code: the words of the command line, the key, and the value."""
    for key in ("data", "eval_data"):
        spec = options.get(key) or ""
        is_code = is_callable_spec(spec) and not is_registered(spec)
        if is_code and not spec.startswith(_OWN):
            yield f"--{key.replace('_', '-')} {shlex.quote(spec)}", key, spec
    cluster = (options.get("search") or {}).get("cluster")
    if cluster:
        words = shlex.quote(f"search.cluster={cluster}")
        yield f"--set {words}", "search.cluster", str(cluster)
