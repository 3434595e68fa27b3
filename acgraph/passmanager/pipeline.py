"""Parse and print pipeline text: ``fold-constants,shrink-channels{min-keep=8}``."""

import difflib
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from acgraph.errors import UsageError
from acgraph.passmanager.base import Pass
from acgraph.passmanager.base import options as list_options
from acgraph.passmanager.registry import Registry, load_pass

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_OPTION = re.compile(r'\s*([A-Za-z][\w-]*)\s*=\s*("[^"]*"|[^\s"{}]+)\s*')
_BOOLS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class PassSpec:
    """One pass of a parsed pipeline text.

    Attributes:
        name: Name of the pass.
        options: Values as text, by option name as written.
        column: Column of the name in the text, from 1.
    """

    name: str
    options: dict[str, str]
    column: int


def parse_pipeline(text: str) -> tuple[PassSpec, ...]:
    """Split pipeline text into passes and options, without looking up the passes.

    >>> [(s.name, s.options) for s in parse_pipeline("fold-constants{max-elements=8},infer-shapes")]
    [('fold-constants', {'max-elements': '8'}), ('infer-shapes', {})]

    Raises:
        UsageError: The text is malformed; the message names the column and the wrong word.
    """
    if not text.strip():
        raise UsageError("the pipeline is empty", hint="name a pass, such as 'fold-constants'")
    return tuple(_specs(text))


def _specs(text: str) -> Iterator[PassSpec]:
    position = 0
    while True:
        position += len(text[position:]) - len(text[position:].lstrip())
        match = _NAME.match(text, position)
        if match is None:
            raise _error(text, position, "a pass name was expected")
        name, start, position = match.group(), position, match.end()
        options: dict[str, str] = {}
        if text[position : position + 1] == "{":
            options, position = _options(text, position + 1)
        position += len(text[position:]) - len(text[position:].lstrip())
        yield PassSpec(name, options, start + 1)
        if position == len(text):
            return
        if text[position] != ",":
            raise _error(text, position, f"',' or the end was expected after '{name}'")
        position += 1


def _options(text: str, position: int) -> tuple[dict[str, str], int]:
    options: dict[str, str] = {}
    opened = position
    while text[position : position + 1] != "}":
        if position >= len(text):
            raise _error(text, opened - 1, "this '{' is never closed")
        match = _OPTION.match(text, position)
        if match is None:
            raise _error(text, position, "'option=value' was expected")
        key, value = match.groups()
        if key in options:
            raise _error(text, position, f"option '{key}' is given twice")
        options[key] = value.strip('"')
        position = match.end()
    return options, position + 1


def _error(text: str, position: int, message: str) -> UsageError:
    word = re.split(r"[\s,{}]", text[position:].lstrip(), maxsplit=1)[0] or text[position:][:1]
    found = f"'{word}'" if word else "the end"
    return UsageError(
        f"pipeline, column {position + 1}: {message}, not {found}"
        if "expected" in message
        else f"pipeline, column {position + 1}: {message}",
        hint="the form is 'pass-a,pass-b{option=value}'",
    )


def build_passes(text: str, registry: Registry) -> tuple[Pass, ...]:
    """Create the passes that pipeline text names.

    Raises:
        UsageError: The text is malformed, or names an unknown pass, option or value.
    """
    return tuple(_build(spec, registry) for spec in parse_pipeline(text))


def _build(spec: PassSpec, registry: Registry) -> Pass:
    pass_class = load_pass(spec.name, registry)
    hints = typing.get_type_hints(pass_class)
    fields = {f.name.replace("_", "-"): f.name for f in list_options(pass_class)}
    values: dict[str, Any] = {}
    for key, word in spec.options.items():
        option = key.replace("_", "-")
        if option not in fields:
            near = difflib.get_close_matches(option, fields, n=1)
            options = f"its options: {', '.join(sorted(fields))}" if fields else "it has no options"
            hint = f"did you mean '{near[0]}'?" if near else options
            raise UsageError(f"pass '{spec.name}' has no option '{key}'", hint=hint)
        name = fields[option]
        values[name] = _value(hints[name], word, f"{spec.name}{{{option}={word}}}")
    return pass_class(**values)


def _value(kind: Any, word: str, where: str) -> Any:
    """Parse a word as a bool, int, float, str, Literal, tuple, or an optional one of these."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if word == "none":
            return None
        return _value(next(a for a in arguments if a is not types.NoneType), word, where)
    if origin is tuple:
        return tuple(_value(arguments[0], part, where) for part in word.split(","))
    if origin is Literal:
        return _choice({str(a): a for a in arguments}, word, where)
    if kind is bool:
        return _choice(_BOOLS, word, where)
    try:
        return kind(word)
    except ValueError as error:
        raise UsageError(f"{where}: '{word}' is not {_ARTICLE[kind]}") from error


_ARTICLE: dict[Any, str] = {int: "a whole number", float: "a number", str: "text"}


def _choice(choices: dict[str, Any], word: str, where: str) -> Any:
    if word not in choices:
        raise UsageError(f"{where}: '{word}' is not one of {', '.join(choices)}")
    return choices[word]


def pipeline_text(passes: typing.Iterable[Pass]) -> str:
    """Print passes as pipeline text; options with default values are left out."""
    return ",".join(pass_text(p) for p in passes)


def pass_text(one: Pass) -> str:
    """Print one pass as pipeline text."""
    options = [
        f"{f.name.replace('_', '-')}={_word(getattr(one, f.name))}"
        for f in list_options(one)
        if getattr(one, f.name) != f.default
    ]
    return one.name + (f"{{{' '.join(options)}}}" if options else "")


def _word(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return '"' + ",".join(_word(item).strip('"') for item in value) + '"'
    text = str(value)
    return text if re.fullmatch(r'[^\s"{}]+', text) else f'"{text}"'
