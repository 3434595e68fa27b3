"""The keyword options of ``compress``, and the key of each in the configuration file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.driver.checkpoint.checkpoints import stored_options
from acgraph.errors import UsageError

#: Keywords whose key in the configuration file differs from their name.
PLACES: Mapping[str, str] = {
    "learning_rate": "train.learning_rate",
    "batch_size": "train.batch_size",
    "distill_weight": "train.distill_weight",
    "search": "search.method",
    "evaluations": "search.evaluations",
    "columns": "columns.enabled",
    "column_pattern": "columns.pattern",
    "column_multiple": "columns.multiple",
}
#: Flags that turn off an option of the configuration file.
NEGATED: Mapping[str, str] = {"columns_only": "filters", "no_timing": "timing"}


def compress_config(
    options: Mapping[str, Any],
    *,
    config: Path | None = None,
    set: Mapping[str, Any] | tuple[str, ...] = (),
) -> CompressConfig:
    """Make the configuration of a run: ``set`` overrides the file, and ``options`` override both.

    Args:
        options: Values by keyword; None, and False for a flag, mean that it was not passed.
        config: A YAML file with options.
        set: Any keys of that file: a mapping such as ``{"train.precision": "fp32"}``, or strings
            such as ``train.precision=fp32``.

    Raises:
        UsageError: An option is unknown, or its value is invalid.
    """
    settings = set if isinstance(set, tuple) else ()
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name in NEGATED:
            if value:
                _put(values, NEGATED[name], False)
        elif value is not None and not (name == "allow_inexact" and value is False):
            _put(values, PLACES.get(name, name), value)
    if not isinstance(set, tuple):
        over = values
        values = {}
        for path, value in set.items():
            _put(values, path, value)
        _update(values, over)
    return make_config(values, file=config, settings=settings, stored=stored_options)


def _update(values: dict[str, Any], over: Mapping[str, Any]) -> None:
    for name, value in over.items():
        if isinstance(value, Mapping) and isinstance(values.get(name), dict):
            _update(values[name], value)
        else:
            values[name] = value


def _put(values: dict[str, Any], path: str, value: object) -> None:
    *sections, name = path.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UsageError(f"'{section}' is an option, not a section")
        values = inner
    values[name] = value
