"""Build the configuration of ``compress`` from a file, single settings and options."""

import dataclasses
import difflib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pydantic import BaseModel

from acgraph.admm.config import AdmmConfig
from acgraph.backends.training import TrainConfig
from acgraph.config import CompressConfig, check_output
from acgraph.config_fields import AUTO
from acgraph.config_file import OptionsFile, read_options
from acgraph.config_sections import ColumnConfig, SearchConfig
from acgraph.errors import UsageError
from acgraph.search.annealing import AnnealConfig

#: Values of ``auto`` where timing, which would choose them, is turned off.
_UNTIMED = {"precision": "fp32", "channels_last": False}
#: An infinite number in JSON.
INFINITY = "Infinity"
#: Training options that are set at the top level, for the whole run.
SHARED = ("seed", "threads")
#: Sections are not nested deeper than this.
_MAX_SECTIONS = 8


def make_config(
    options: Mapping[str, Any],
    *,
    file: Path | None = None,
    settings: tuple[str, ...] = (),
    stored: Callable[[Path, Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> CompressConfig:
    """Merge a file, single settings, and options, the later over the earlier.

    Args:
        options: Values by field name; None means that an option was not passed.
        file: A YAML file.
        settings: Strings such as ``train.learning_rate=0.02``.
        stored: Returns the options that the run in a folder was started with, given the other
            options. If ``resume`` names a folder, the other options override these.

    Raises:
        UsageError: A key is unknown (the message names the nearest one), or a value is invalid.
    """
    source = read_options(file) if file is not None else OptionsFile()
    values = source.values
    _check_keys(values, CompressConfig, "", source)
    lines = dict(source.lines)
    for setting in settings:
        _override(values, _parse_setting(setting), lines)
    _override(values, {k: v for k, v in options.items() if v is not None}, lines)
    source = replace(source, lines=lines)
    _check_keys(values, CompressConfig, "", source)
    if values.get("resume") is not None:
        values = _resumed(values, _path(values, "resume", source), stored)
    train = dict(values.get("train") or {})
    for key in SHARED:
        if key in values:
            train[key] = values[key]
    if values.get("timing") is False:
        train.update({k: v for k, v in _UNTIMED.items() if train.get(k, AUTO) == AUTO})
    values["train"] = train
    try:
        return CompressConfig.model_validate(values)
    except pydantic.ValidationError as error:
        raise _usage_error(error, source) from error


def _path(values: Mapping[str, Any], key: str, source: OptionsFile) -> Path:
    """Return an option that is a path, which YAML may have read as a number."""
    value = values[key]
    if not isinstance(value, str | Path) or "\0" in str(value):
        raise UsageError(f"{key}: {value!r} is not a path", location=source.place(key))
    return Path(value)


def _override(values: dict[str, Any], over: Mapping[str, Any], lines: dict[str, int]) -> None:
    """Override options of the file, whose lines then no longer say where they come from."""
    for key in _leaf_keys(over, ""):
        lines.pop(key, None)
    _merge(values, over)


def _leaf_keys(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaf_keys(value, f"{prefix}{key}.")


def _resumed(
    values: dict[str, Any],
    folder: Path,
    stored: Callable[[Path, Mapping[str, Any]], Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """Override the options that a run was started with; its output folder stays the same."""
    if values.get("output") is not None:
        check_output(_path(values, "output", OptionsFile()), folder)
    base = dict(stored(folder, values)) if stored is not None else {}
    for given, other in (("epochs", "time_budget"), ("time_budget", "epochs")):
        if values.get(given) is not None:
            base.pop(other, None)
    _merge(base, values)
    return base | {"output": folder}


def _parse_setting(text: str) -> dict[str, Any]:
    path, equals, word = text.partition("=")
    if not equals or not path:
        raise UsageError(
            f"--set {text}: is not KEY=VALUE", hint="write for example train.learning_rate=0.02"
        )
    try:
        value: Any = yaml.safe_load(word)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"--set {text[:80]}: '{word[:80]}' is not a valid YAML value") from error
    keys = path.split(".")
    if len(keys) > _MAX_SECTIONS:
        raise UsageError(f"--set {text[:80]}: sections are not nested this deep")
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value


def _check_keys(values: Mapping[Any, Any], kind: type, prefix: str, source: OptionsFile) -> None:
    known = dict(_fields(kind))
    if kind is TrainConfig:
        known = {k: v for k, v in known.items() if k not in SHARED}
    for key, value in values.items():
        if key not in known:
            raise _unknown_key(f"{prefix}{key}", str(key), prefix, known, source)
        section = SECTIONS.get(known[key])
        if section is None:
            continue
        if not isinstance(value, Mapping):
            raise UsageError(
                f"{prefix}{key} is a section",
                location=source.place(f"{prefix}{key}"),
                hint="write the options of the section below it",
            )
        _check_keys(value, section, f"{prefix}{key}.", source)


def _unknown_key(
    full: str, key: str, prefix: str, known: Mapping[str, Any], source: OptionsFile
) -> UsageError:
    where = source.place(full)
    if prefix == "train." and key in SHARED:
        return UsageError(
            f"no option is named '{full}'",
            location=where,
            hint=f"set '{key}' at the top level, for the whole run",
        )
    everywhere = dict(_paths(CompressConfig, ""))
    near = [path for path, name in everywhere.items() if name == key]
    near += [prefix + name for name in difflib.get_close_matches(key, known, n=1)]
    near += difflib.get_close_matches(full, everywhere, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
    return UsageError(f"no option is named '{full[:80]}'", location=where, hint=hint)


def _fields(kind: type) -> Iterator[tuple[str, Any]]:
    if issubclass(kind, BaseModel):
        yield from ((name, info.annotation) for name, info in kind.model_fields.items())
    else:
        dataclass_kind: Any = kind
        yield from ((f.name, f.type) for f in dataclasses.fields(dataclass_kind))


def _paths(kind: type, prefix: str) -> Iterator[tuple[str, str]]:
    for name, annotation in _fields(kind):
        section = SECTIONS.get(annotation)
        if section is not None:
            yield from _paths(section, f"{prefix}{name}.")
        elif not (kind is TrainConfig and name in SHARED):
            yield f"{prefix}{name}", name


#: The types of the sections of options.
SECTIONS: dict[Any, type] = {
    kind: kind for kind in (TrainConfig, AdmmConfig, SearchConfig, AnnealConfig, ColumnConfig)
}


def _usage_error(error: pydantic.ValidationError, source: OptionsFile) -> UsageError:
    first = error.errors()[0]
    place = ".".join(
        str(part) for part in first["loc"] if isinstance(part, str) and "[" not in part
    )
    if first["type"] == "missing":
        hint = (
            "give the path of an ONNX file"
            if place == "model"
            else f"use --{place.replace('_', '-')}"
        )
        return UsageError(f"'{place}' is not given", hint=hint)
    message = first["msg"].removeprefix("Value error, ")
    given = first["input"]
    shown = f", not {_short(given)}" if isinstance(given, str | int | float | bool) else ""
    return UsageError(
        f"{place}: {message[:1].lower()}{message[1:]}{shown}", location=source.place(place)
    )


def _short(value: object) -> str:
    """Return a value as Python text, without converting thousands of digits."""
    if isinstance(value, int) and value.bit_length() > 256:
        return "such a large number"
    return repr(value)[:80]


def options_text(config: CompressConfig, *, is_json: bool = False) -> str:
    """Return all options of a run as text that ``read_options`` reads: YAML, or JSON."""
    values = config.model_dump(mode="json", exclude={"resume"})
    for name in SHARED:
        del values["train"][name]
    if is_json:
        return json.dumps(_finite(values), indent=2, allow_nan=False) + "\n"
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _finite(value: Any) -> Any:
    """Replace infinite numbers, which JSON lacks, by text that is read as the same number."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return INFINITY if value == math.inf else value
