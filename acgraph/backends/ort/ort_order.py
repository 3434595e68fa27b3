"""Give the content of an ``.ort`` file one order, so that equal models become equal files.

ONNX Runtime keeps initializers, values, attributes and more in hash tables whose order depends on
memory addresses, and writes them in that order. The file is a FlatBuffer, in which everything
refers to everything else by distance, so that it is written anew. Only the order changes.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

#: The tables of the format and their fields, by slot: the bytes of a number, ``string``, a table,
#: a list ``[...]`` or a list without an order of its own ``{...}``; None is not in use.
_TABLES: dict[str, tuple[str | None, ...]] = {
    "InferenceSession": ("string", "Model", None, "KernelTypeStrResolver"),
    "Model": ("8", "{OperatorSetId}", "string", "string", "string", "8", "string", "Graph",
              "string", "{StringStringEntry}"),
    "Graph": ("{Tensor}", "{ValueInfo}", "[Node]", "4", "[NodeEdge]", "[string]", "[string]",
              "{SparseTensor}"),
    "Node": ("string", "string", "string", "4", "4", "string", "4", "string", "[string]",
             "[string]", "{Attribute}", "[4]", "[string]"),
    "NodeEdge": ("4", "[12]", "[12]"),
    "ValueInfo": ("string", "string", "TypeInfo"),
    "TypeInfo": ("string", "1", "union"),
    "TensorTypeAndShape": ("4", "Shape"),
    "SequenceType": ("TypeInfo",),
    "MapType": ("4", "TypeInfo"),
    "Shape": ("[Dimension]",),
    "Dimension": ("DimensionValue", "string"),
    "DimensionValue": ("1", "8", "string"),
    "Tensor": ("string", "string", "[8]", "4", "[1]", "[string]", "8"),
    "SparseTensor": ("Tensor", "Tensor", "[8]"),
    "Attribute": ("string", "string", "4", "4", "8", "string", "Tensor", "Graph", "[4]", "[8]",
                  "[string]", "[Tensor]", "[Graph]"),
    "OperatorSetId": ("string", "8"),
    "StringStringEntry": ("string", "string"),
    "KernelTypeStrResolver": ("{OpIdKernelTypeStrArgsEntry}",),
    "OpIdKernelTypeStrArgsEntry": ("string", "{KernelTypeStrArgsEntry}"),
    "KernelTypeStrArgsEntry": ("string", "[ArgTypeAndIndex]"),
    "ArgTypeAndIndex": ("1", "4"),
}  # fmt: skip
#: The tables that the last field of ``TypeInfo`` may hold, by the number before it.
_UNION = {1: "TensorTypeAndShape", 2: "SequenceType", 3: "MapType"}
_IDENTIFIER = b"ORTM"
_NUMBERS = {1: "B", 4: "I", 8: "Q"}
_U32 = struct.Struct("<I")


class UnknownContentError(ValueError):
    """The file contains something that this version of acgraph does not know."""


def in_order(source: bytes | memoryview) -> list[bytes | memoryview]:
    """Return the content of an ``.ort`` file in its canonical order, as consecutive parts.

    Large arrays are not copied: the parts refer to ``source``.

    Args:
        source: The content of the file.

    Raises:
        UnknownContentError: The file has content that is not known here.
    """
    data = memoryview(source)
    if bytes(data[4:8]) != _IDENTIFIER:
        raise UnknownContentError("the file has another identifier")
    reader, writer = _Reader(data), _Writer()
    root = _copied(reader, writer, "InferenceSession", reader.target(0))
    writer.add(_IDENTIFIER, 8, before=4)
    writer.add(_U32.pack(writer.size + 4 - root))
    return writer.parts[::-1]


@dataclass(slots=True)
class _Reader:
    """Reads the tables of a FlatBuffer; positions count from its start."""

    data: memoryview
    slots: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def number(self, at: int) -> int:
        return int(_U32.unpack_from(self.data, at)[0])

    def target(self, at: int) -> int:
        return at + self.number(at)

    def fields(self, table: int) -> tuple[int, ...]:
        """Return the places of the fields in a table, by slot; 0 if a field is absent."""
        at = table - struct.unpack_from("<i", self.data, table)[0]
        if at not in self.slots:
            count = struct.unpack_from("<H", self.data, at)[0] // 2 - 2
            self.slots[at] = struct.unpack_from(f"<{count}H", self.data, at + 4)
        return self.slots[at]

    def items(self, vector: int) -> list[int]:
        count = self.number(vector)
        offsets = struct.unpack_from(f"<{count}I", self.data, vector + 4)
        return [vector + 4 + 4 * k + offset for k, offset in enumerate(offsets)]

    def block(self, vector: int, width: int) -> memoryview:
        """Return the bytes of a string, or of a vector of numbers or structures."""
        return self.data[vector + 4 : vector + 4 + width * self.number(vector)]

    def name(self, kind: str, table: int) -> bytes:
        """Return the text by which a table without an order is sorted."""
        places = self.fields(table)
        if not places or not places[0]:
            return b""
        first = self.target(table + places[0])
        return self.name("Tensor", first) if kind == "SparseTensor" else bytes(self.block(first, 1))


@dataclass(slots=True)
class _Writer:
    """Writes a FlatBuffer from its end to its start; positions count from the end."""

    parts: list[bytes | memoryview] = field(default_factory=list)
    size: int = 0
    strings: dict[bytes, int] = field(default_factory=dict)
    layouts: dict[bytes, int] = field(default_factory=dict)
    shapes: "dict[tuple[int, ...], _Shape]" = field(default_factory=dict)

    def add(self, part: bytes | memoryview, align: int = 1, before: int = 0) -> int:
        """Write a part such that what follows its first ``before`` bytes is aligned."""
        length = memoryview(part).nbytes
        if padding := -(self.size + length - before) % align:
            self.parts.append(bytes(padding))
        self.parts.append(part)
        self.size += padding + length
        return self.size

    def block(self, content: memoryview, count: int, align: int) -> int:
        self.add(content, max(align, 4))
        return self.add(_U32.pack(count))

    def string(self, content: bytes) -> int:
        if content not in self.strings:
            whole = _U32.pack(len(content)) + content + b"\0"
            self.strings[content] = self.add(whole, 4)
        return self.strings[content]

    def vector(self, items: list[int]) -> int:
        end = self.size + -self.size % 4 + 4 * len(items)
        offsets = [end - 4 * k - item for k, item in enumerate(items)]
        return self.add(struct.pack(f"<{len(items) + 1}I", len(items), *offsets), 4)

    def table(self, widths: tuple[int, ...], values: list[int]) -> int:
        """Write a table.

        Args:
            widths: Width of each field in bytes, by slot: 0 if it is absent, -1 if it refers to a
                string, a vector or a table.
            values: Value of each field; the position of what it refers to.
        """
        shape = self.shapes.get(widths) or _shape(widths)
        self.shapes[widths] = shape
        if shape.layout not in self.layouts:
            self.layouts[shape.layout] = self.add(shape.layout, 2)
        end = shape.form.size
        start = self.size + -(self.size + end - 4) % shape.align + end
        fields = [
            start - place - values[slot] if widths[slot] < 0 else values[slot]
            for slot, place in shape.places
        ]
        whole = shape.form.pack(self.layouts[shape.layout] - start, *fields)
        return self.add(whole, shape.align, before=4)


@dataclass(frozen=True, slots=True)
class _Shape:
    """How tables with the same fields are laid out: slots and places in order of their places."""

    places: tuple[tuple[int, int], ...]
    layout: bytes
    form: struct.Struct
    align: int


def _shape(widths: tuple[int, ...]) -> _Shape:
    """Lay out a table, the widest fields first."""
    sizes = {slot: 4 if width < 0 else width for slot, width in enumerate(widths) if width}
    places, end = {}, 4
    for slot in sorted(sizes, key=lambda slot: (-sizes[slot], slot)):
        places[slot] = end
        end += sizes[slot]
    padding = -end % 4
    count = max(places, default=-1) + 1
    slots = [places.get(slot, 0) for slot in range(count)]
    return _Shape(
        places=tuple(places.items()),
        layout=struct.pack(f"<{count + 2}H", 2 * count + 4, end + padding, *slots),
        form=struct.Struct("<i" + "".join(_NUMBERS[sizes[s]] for s in places) + "x" * padding),
        align=8 if 8 in sizes.values() else 4,
    )


def _copied(reader: _Reader, writer: _Writer, kind: str, table: int) -> int:
    """Write a table with everything that it refers to, and return its position."""
    places, known = reader.fields(table), _TABLES[kind]
    widths, values = [0] * len(places), [0] * len(places)
    for slot, place in enumerate(places):
        if not place:
            continue
        what = known[slot] if slot < len(known) else None
        if what == "union":
            what = _UNION.get(values[slot - 1])
        if what is None:
            raise UnknownContentError(f"{kind} has an unknown field {slot}")
        if what.isdigit():
            widths[slot] = int(what)
            form = _NUMBERS[widths[slot]]
            values[slot] = struct.unpack_from("<" + form, reader.data, table + place)[0]
        else:
            widths[slot] = -1
            values[slot] = _item(reader, writer, what, reader.target(table + place))
    return writer.table(tuple(widths), values)


def _item(reader: _Reader, writer: _Writer, what: str, at: int) -> int:
    """Write a string, a table or a vector, and return its position."""
    if what == "string":
        return writer.string(bytes(reader.block(at, 1)))
    if what in _TABLES:
        return _copied(reader, writer, what, at)
    inner = what[1:-1]
    if inner.isdigit():
        width = int(inner)
        align = 8 if width == 8 else 4
        return writer.block(reader.block(at, width), reader.number(at), align)
    found: Iterable[int] = reader.items(at)
    if what.startswith("{"):
        found = sorted(found, key=lambda item: reader.name(inner, item))
    return writer.vector([_item(reader, writer, inner, item) for item in found])
