"""Check that a run is resumed with the options and the inputs that it was started with."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.driver.checkpoint.state_file import START_ANEW
from acgraph.errors import CheckpointError, UsageError

#: Options that may differ when a run is resumed: locations, hardware, the accepted loss of
#: accuracy, and how the result is written.
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
    """Reject options with which a run cannot be resumed.

    Args:
        before: The options that it was started with, as JSON values.
        config: The current options.
        where: The folder of its results.

    Raises:
        UsageError: An option differs that must be the same.
    """
    ours = dict(_leaves(json.loads(config.model_dump_json())))
    # Without a target rate, the accuracy floor decided which rates were tried.
    free = _FREE if before["target_rate"] is not None else _FREE - {"max_drop"}
    for name, value in _leaves(before):
        if name not in free and ours.get(name) != value:
            raise UsageError(
                f"the run was started with {name} {_shown(value)}, not {_shown(ours.get(name))}",
                location=where,
                hint="use the same options, or start a new run",
            )


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the options of all sections under keys such as ``train.learning_rate``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(value: object) -> str:
    return "unset" if value is None else str(value)


def check_inputs(before: Mapping[str, str], inputs: Mapping[str, str], where: Location) -> None:
    """Reject inputs that differ from those that a run was started with.

    Args:
        before: Hashes of the inputs when the run was started, by their names in messages.
        inputs: Hashes of the current inputs.
        where: The folder of its results.

    Raises:
        CheckpointError: A hash differs.
    """
    for what, digest in inputs.items():
        if before.get(what) != digest:
            raise CheckpointError(
                f"the {what.removeprefix('a ')} has changed since the run was started",
                location=where,
                hint=f"use the same files, or {START_ANEW}",
            )
