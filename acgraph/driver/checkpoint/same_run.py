"""Make sure that a run goes on as itself: with the options and the inputs that it had."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.driver.checkpoint.state_file import START_ANEW
from acgraph.errors import CheckpointError, UsageError

#: Options that may differ when a run goes on: where things are, what computes, the verdict, and
#: what is made of the result.
#: The model is compared by its content.
_FREE = frozenset(
    [
        "output",
        "resume",
        "model",
        "threads",
        "train.threads",
        "train.device",
        "search.workers",
        "search.cluster",
        "max_drop",
        "quantize",
    ]
)


def check_options(before: Mapping[str, Any], config: CompressConfig, where: Location) -> None:
    """Refuse options that a run cannot go on with.

    Args:
        before: The options that it was started with, as JSON has them.
        config: The options now.
        where: The folder of its results.

    Raises:
        UsageError: an option differs that must not.
    """
    ours = dict(_leaves(json.loads(config.model_dump_json())))
    # Without a target rate the floor is what the attempts went by.
    free = _FREE if before["target_rate"] is not None else _FREE - {"max_drop"}
    for name, value in _leaves(before):
        if name not in free and ours.get(name) != value:
            raise UsageError(
                f"the run was started with {name} {_shown(value)}, not {_shown(ours.get(name))}",
                location=where,
                hint="give the same options, or start anew",
            )


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """List the options of all sections as ``train.learning_rate``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(value: object) -> str:
    return "unset" if value is None else str(value)


def check_inputs(before: Mapping[str, str], inputs: Mapping[str, str], where: Location) -> None:
    """Refuse inputs that are not what a run was started with.

    Args:
        before: Hashes of what the run read when it was started, by what a message calls it.
        inputs: The same of what is read now.
        where: The folder of its results.

    Raises:
        CheckpointError: a hash differs.
    """
    for what, digest in inputs.items():
        if before.get(what) != digest:
            raise CheckpointError(
                f"the run was started with {what} of other content",
                location=where,
                hint=f"give the same, or {START_ANEW}",
            )
