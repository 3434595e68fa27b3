"""Read the file of options of ``compress``: YAML, with the line of every option."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from acgraph.diagnostics import Location, on_one_line
from acgraph.errors import UsageError

#: Files of more bytes are no files of options.
MAX_BYTES = 1 << 18
#: Sections and lists may be nested this deep.
_MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class OptionsFile:
    """The content of a file of options.

    Attributes:
        name: Path of the file.
        values: The options.
        lines: The line of each option, by its key with the sections before it, as ``train.epochs``.
    """

    name: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def place(self, key: str) -> Location:
        """Return the file and the line of an option; nothing if it is not in the file.

        >>> str(OptionsFile("a.yaml", lines={"train.epochs": 3}).place("train.epochs"))
        'a.yaml, line 3'
        """
        if key not in self.lines:
            return Location()
        return Location(model=f"{self.name}, line {self.lines[key]}")


def read_options(file: Path) -> OptionsFile:
    """Read a file of options.

    Raises:
        UsageError: It cannot be read, is not a mapping, or gives an option twice.
    """
    where = Location(model=str(file))
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UsageError(
                f"has more than {MAX_BYTES >> 10} KiB",
                location=where,
                hint="give a file of options, not of data",
            )
        values, lines = _parse(data.decode(), str(file))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", location=where) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UsageError(f"is not YAML: {on_one_line(error)}", location=where) from error
    except (RecursionError, MemoryError) as error:
        raise UsageError(
            f"is nested deeper than {_MAX_DEPTH} levels",
            location=where,
            hint="write one option a line, as 'name: value'",
        ) from error
    if not isinstance(values, dict):
        raise UsageError(
            "is not a mapping of options",
            location=where,
            hint="write one option a line, as 'name: value'",
        )
    return OptionsFile(str(file), values, lines)


def _parse(text: str, file: str) -> tuple[Any, dict[str, int]]:
    """Return the content of a YAML text, and the line of each key."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, {}
        lines = dict(_lines(root, "", file, set()))
        return loader.construct_document(root), lines
    finally:
        loader.dispose()


def _lines(node: yaml.Node, prefix: str, file: str, seen: set[int]) -> Iterator[tuple[str, int]]:
    """Yield the key and the line of each option; a node that aliases repeat is read once.

    Raises:
        RecursionError: The options are nested too deeply.
        UsageError: An option is given twice.
    """
    if prefix.count(".") > _MAX_DEPTH:
        raise RecursionError
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _lines(item, f"{prefix}[].", file, seen)
    if not isinstance(node, yaml.MappingNode):
        return
    given: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in given:
            raise UsageError(
                f"'{prefix}{name}' is given twice, first in line {given[name]}",
                location=Location(model=f"{file}, line {line}"),
                hint="remove one of them",
            )
        given[name] = line
        yield f"{prefix}{name}", line
        yield from _lines(value, f"{prefix}{name}.", file, seen)
