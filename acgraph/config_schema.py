"""JSON Schemas: of the file of options, of ``report.json``, and of a dry run."""

import inspect
import math
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from acgraph.backends.training import TrainConfig
from acgraph.config import CompressConfig
from acgraph.config_merge import INFINITY, SECTIONS, SHARED
from acgraph.errors import UsageError
from acgraph.report import Report
from acgraph.report.forecast import Forecast
from acgraph.report.schema_base import Part

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TITLES = {
    "options": "Options of acgraph compress",
    "report": "report.json of acgraph compress",
    "dry-run": "Result of acgraph compress --dry-run --format json",
}
#: Words of pydantic for the bounds of a number that it also checks otherwise.
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
}
#: A line that begins the description of an attribute in a docstring.
_ATTRIBUTE = re.compile(r"    (\w+): (.*)")


def json_schema(what: str) -> dict[str, Any]:
    """Return a JSON Schema.

    Args:
        what: ``options`` for the file of options, ``report`` for ``report.json``, ``dry-run`` for
            the JSON of a dry run.

    Raises:
        UsageError: There is no such schema.
    """
    if what not in _TITLES:
        raise UsageError(f"there is no schema '{what}'", hint=f"known: {', '.join(_TITLES)}")
    if what == "options":
        schema = _options_schema()
    else:
        schema = _written_schema(Report if what == "report" else Forecast)
    for part in _parts(schema):
        _tidy(part)
    return {"$schema": _DIALECT, **schema, "title": _TITLES[what]}


def _options_schema() -> dict[str, Any]:
    """Return the schema of the options; none is required, as the command line may give it."""
    schema = CompressConfig.model_json_schema()
    del schema["required"]
    for name in SHARED:
        del schema["$defs"][TrainConfig.__name__]["properties"][name]
    for kind in (CompressConfig, *SECTIONS):
        _describe(kind, schema if kind is CompressConfig else schema["$defs"][kind.__name__])
    for part in _parts(schema):
        if part.get("default") == math.inf:
            part["type"], part["default"] = ["number", "string"], INFINITY
    return schema


def _written_schema(kind: type[Part]) -> dict[str, Any]:
    """Return the schema of what acgraph writes: with every key, and ``null`` for infinity."""
    schema = kind.model_json_schema(mode="serialization")
    kinds = {part.__name__: part for part in Part.__subclasses__()}
    for name, part in {kind.__name__: schema, **schema["$defs"]}.items():
        _describe(kinds[name], part)
        part["required"] = list(part["properties"])
    for part in _parts(schema):
        part.pop("default", None)
        if part.get("type") == "number":
            part["type"] = ["number", "null"]
    return schema


def _describe(kind: type, part: dict[str, Any]) -> None:
    """Describe each property as the docstring of its class does."""
    fields = kind.model_fields if issubclass(kind, BaseModel) else {}
    for name, text in _descriptions(kind):
        field = fields.get(name)
        key = name if field is None else field.serialization_alias or field.alias or name
        if key in part["properties"]:
            part["properties"][key]["description"] = text


def _descriptions(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the name and the description of each attribute in the docstring of a class."""
    name, words = "", ""
    _, _, text = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    for line in text.splitlines():
        match = _ATTRIBUTE.fullmatch(line)
        if match is None:
            words += f" {line.strip()}"
            continue
        if name:
            yield name, words.strip()
        name, words = match.groups()
    yield name, words.strip()


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema within a schema, the inner ones first."""
    if isinstance(value, list):
        for inner in value:
            yield from _parts(inner)
    if isinstance(value, dict):
        for key, inner in value.items():
            is_map = key in ("properties", "$defs")
            yield from _parts(list(inner.values()) if is_map else inner)
        yield value


def _tidy(part: dict[str, Any]) -> None:
    """Leave out titles made of names and repeated texts, and use the words of JSON Schema."""
    part.pop("title", None)
    if "properties" in part and "description" in part:
        part["description"] = part["description"].partition("\n\n")[0].replace("\n", " ")
    if isinstance(part.get("default"), dict) and part["default"]:
        del part["default"]  # a section: its options have defaults of their own
    for word, standard in _BOUNDS.items():
        if word in part:
            part[standard] = part.pop(word)
