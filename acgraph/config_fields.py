"""Types of options that have a short notation: ``30x``, ``20m``, ``0.5,0.4``."""

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from acgraph.errors import UsageError
from acgraph.pruning.rate import Rate
from acgraph.tasks import KINDS, Kind, parse_tasks

#: The value of an option that is to be measured on this host.
AUTO: Literal["auto"] = "auto"

#: Notations of a shape after the name: the current one with commas, and an older one with ``x``.
_SHAPES = (
    re.compile(r"(?:(?P<name>.+):)?(?P<sizes>\d+(?:,\d+)*)", re.ASCII),
    re.compile(r"(?P<name>.+)=(?P<sizes>\d+(?:x\d+)*)", re.ASCII),
)
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def parse_duration(text: str) -> float:
    """Parse ``90``, ``90s``, ``20m`` or ``1h30m`` as seconds.

    >>> parse_duration("1h30m")
    5400.0

    Raises:
        UsageError: The text is not a duration, or it is zero.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or not any(match.groups()):
        raise UsageError(f"'{text}' is not a time", hint="write for example 90s, 20m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    total = 3600 * hours + 60 * minutes + seconds
    if total == 0:
        raise UsageError("a time budget must be greater than zero", hint="write for example 20m")
    return total


def parse_shapes(texts: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """Parse ``NAME:1,3,48,320`` or ``NAME=1x3x48x320``; the name of a single input may be omitted.

    >>> parse_shapes(["x:0:1,3,32,32", "1,16"])
    {'x:0': (1, 3, 32, 32), '': (1, 16)}

    Raises:
        UsageError: A text is not a shape, or two texts name the same input.
    """
    shapes = {}
    for text in texts or ():
        match = next(filter(None, (form.fullmatch(text) for form in _SHAPES)), None)
        sizes = [] if match is None else [int(part) for part in re.split("[,x]", match["sizes"])]
        if match is None or min(sizes) < 1:
            raise UsageError(
                f"'{text}' is not a shape", hint="write --input-shape NAME:1,3,224,224"
            )
        name = match["name"] or ""
        if name in shapes:
            raise UsageError(
                f"two shapes are given for '{name}'", hint="give --input-shape once for each input"
            )
        shapes[name] = tuple(sizes)
    return shapes


def _shapes(value: Any) -> Any:
    """Read a mapping of names to sizes, or the strings of the command line."""
    if isinstance(value, str):
        return parse_shapes([value])
    if isinstance(value, list | tuple):
        return parse_shapes([str(text) for text in value])
    return value


def parse_layer_rates(texts: Sequence[str]) -> tuple[dict[str, Rate], Rate | None]:
    """Parse ``PATTERN=RATE``, and a plain ``RATE`` for all layers.

    >>> parse_layer_rates(["head*=1.5x", "4x"])
    ({'head*': Rate(value=1.5)}, Rate(value=4.0))

    Raises:
        UsageError: A text is neither, or two texts have the same pattern.
    """
    rates: dict[str, Rate] = {}
    most = None
    for text in texts:
        pattern, equals, rate = text.rpartition("=")
        if pattern in rates if equals else most is not None:
            whose = f"'{pattern}'" if equals else "all layers"
            raise UsageError(f"two rates are given for {whose}", hint="give only one of them")
        if equals and not pattern:
            raise UsageError(
                f"'{text}' has no pattern that names layers", hint="write for example 'head*=1.5x'"
            )
        if not equals and not text.lstrip()[:1].isdigit():
            raise UsageError(f"'{text}' is not a rate", hint="write 4x, or 'head*=1.5x'")
        if equals:
            rates[pattern] = Rate.parse(rate)
        else:
            most = Rate.parse(text)
    return rates, most


def _layer_rates(value: Any) -> Any:
    """Read a mapping of patterns to rates, or the strings of the command line."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    rates, most = parse_layer_rates([str(text) for text in value])
    if most is not None:
        raise UsageError(
            f"layer_rate {most} has no pattern that names layers",
            hint="write PATTERN=RATE, or use max_layer_rate",
        )
    return rates


def _tasks(value: Any) -> Any:
    """Read a mapping of outputs to tasks, or the strings of the command line."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple):
        return parse_tasks([str(text) for text in value])
    return value


def _names(value: Any) -> Any:
    """Read names separated by commas."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _patterns(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _rate(value: Any) -> Any:
    return value if value is None or isinstance(value, Rate) else Rate.parse(str(value))


def _rate_text(rate: Rate | None) -> str | None:
    return None if rate is None else f"{rate.value:.15g}x"


def _duration(value: Any) -> Any:
    return None if value is None else parse_duration(str(value))


def parse_align(value: Any) -> Any:
    """Parse a multiple of filters, or ``auto``.

    Raises:
        ValueError: It is neither.
    """
    if value == AUTO:
        return value
    try:
        step = int(str(value))
    except ValueError:
        step = 0
    if step < 1:
        raise ValueError("must be auto or a positive number of filters")
    return step


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def _numbers(value: Any) -> Any:
    """Read one number, ``0.5``, or several, ``0.5,0.4,0.3``."""
    if isinstance(value, str):
        value = [float(part) for part in value.split(",")]
    return [value] if isinstance(value, int | float) else value


# What a file of options may contain, in JSON Schema, where that is more than the type of the field.
_TEXTS_SCHEMA = {"type": ["string", "array"], "items": {"type": "string", "minLength": 1}}
_RATE_SCHEMA = {"type": ["string", "number"], "minimum": 1, "examples": ["30x"]}


def _schema(**facts: Any) -> WithJsonSchema:
    return WithJsonSchema(facts)


# Serialised exactly, not rounded as in messages: a resumed run must request the same rate.
RateField = Annotated[
    Rate | None,
    BeforeValidator(_rate),
    PlainSerializer(_rate_text),
    _schema(**_RATE_SCHEMA | {"type": ["string", "number", "null"]}),
]
#: Upper bounds on the rate of layers, by pattern.
LayerRates = Annotated[
    dict[
        Annotated[str, Field(min_length=1)],
        Annotated[Rate, BeforeValidator(_rate), PlainSerializer(_rate_text)],
    ],
    BeforeValidator(_layer_rates),
    _schema(
        **_TEXTS_SCHEMA | {"type": ["string", "array", "object"]}, additionalProperties=_RATE_SCHEMA
    ),
]
#: Tasks by output name; the empty name stands for all outputs.
Tasks = Annotated[
    dict[str, Kind],
    BeforeValidator(_tasks),
    _schema(
        **_TEXTS_SCHEMA | {"type": ["string", "array", "object"]},
        additionalProperties={"enum": list(KINDS)},
    ),
]
#: Names of outputs.
Names = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_names),
    _schema(**_TEXTS_SCHEMA),
]
#: Patterns over the names of layers.
Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_patterns),
    _schema(**_TEXTS_SCHEMA),
]
Seconds = Annotated[
    float,
    BeforeValidator(_duration),
    _schema(type=["string", "number"], exclusiveMinimum=0, examples=["20m"]),
]
#: A multiple of filters, or ``auto``.
Align = Annotated[
    int | Literal["auto"],
    BeforeValidator(parse_align),
    _schema(anyOf=[{"type": "integer", "minimum": 1}, {"const": AUTO}]),
]
Numbers = Annotated[
    tuple[float, ...],
    BeforeValidator(_numbers),
    Field(min_length=1),
    _schema(type=["number", "string", "array"], items={"type": "number"}, minItems=1),
]
#: Shapes of inputs by name.
InputShapes = Annotated[
    dict[str, Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]],
    BeforeValidator(_shapes),
    _schema(
        **_TEXTS_SCHEMA | {"type": ["string", "array", "object"]},
        additionalProperties={
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "minItems": 1,
        },
    ),
]
Finite = Annotated[float, AfterValidator(_finite)]
