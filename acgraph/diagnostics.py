"""Diagnostics: the location of a problem, a message, and a hint how to solve it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place in a model: the file, node, value and axis, as far as they are known.

    >>> str(Location(model="m.onnx", node="conv1", op_type="Conv", axis=1))
    "m.onnx: node 'conv1' (Conv), axis 1"
    """

    model: str = ""
    node: str = ""
    op_type: str = ""
    value: str = ""
    axis: int | None = None

    def __str__(self) -> str:
        parts = []
        if self.node:
            parts.append(f"node '{self.node}'" + (f" ({self.op_type})" if self.op_type else ""))
        if self.value:
            parts.append(f"value '{self.value}'")
        if self.axis is not None:
            parts.append(f"axis {self.axis}")
        place = ", ".join(parts)
        return ": ".join(part for part in (self.model, place) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """A diagnostic of one line: location, message and hint.

    >>> d = Diagnostic(location=Location(model="a.onnx"), message="no such file", hint="check it")
    >>> str(d)
    'a.onnx: no such file; check it'
    """

    message: str
    location: Location = Location()
    hint: str = ""

    def __str__(self) -> str:
        where = str(self.location)
        text = f"{where}: {self.message}" if where else self.message
        return printable(f"{text}; {self.hint}" if self.hint else text)


def counted(number: float, noun: str, spec: str = "") -> str:
    """Format a number with its noun, which must have a regular plural.

    >>> counted(1, "fence"), counted(12, "coupled set"), counted(1.001, "epoch", ".2g")
    ('1 fence', '12 coupled sets', '1 epoch')
    """
    shown = f"{number:{spec}}"
    return f"{shown} {noun}" if shown == "1" else f"{shown} {noun}s"


def listed(names: Sequence[str], shown: int) -> str:
    """Join the first names by commas, and count the remaining ones.

    >>> listed(["a", "b", "c"], 2), listed(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')

    Args:
        names: All names.
        shown: How many of them are spelled out.
    """
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, without the full stop at its end."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else "no message"


def on_one_line(error: object, most: int = 300) -> str:
    r"""Return the text of a library's error on one line, cut after ``most`` characters.

    >>> on_one_line(ValueError("bad\n  model"))
    'bad model'
    """
    return " ".join(str(error).split())[:most]


def printable(text: str) -> str:
    r"""Escape line breaks and terminal control characters: names come from untrusted files.

    >>> printable("conv\x1b[31m\n1")
    'conv\\x1b[31m\\n1'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
