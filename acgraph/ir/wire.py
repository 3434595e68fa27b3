"""Find large weights in the bytes of an ONNX file, or insert them, in protobuf's wire format.

A file is a tree of fields: a key, a length, a value. The weights of the top graph are the field
``raw_data`` of the ``initializer`` fields of the field ``graph``. Parsing the whole file would copy
the weights; this module leaves them in place.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Buffer = bytes | memoryview

_GRAPH, _INITIALIZER, _NAME, _RAW_DATA = 7, 5, 8, 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    start: int
    value: int
    end: int


def _read_varint(data: Buffer, place: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[place]
        place += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, place
        shift += 7


def varint(number: int) -> bytes:
    """Encode a non-negative number as a varint."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _fields(data: Buffer, start: int, end: int) -> Iterator[_Field]:
    """Yield the fields of a message.

    Raises:
        ValueError: It is not a message, or it is truncated.
    """
    place = start
    while place < end:
        first = place
        key, place = _read_varint(data, place)
        kind, value = key & 7, place
        if kind == _VARINT:
            _, place = _read_varint(data, place)
        elif kind in (_FIXED64, _FIXED32):
            place += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            length, value = _read_varint(data, place)
            place = value + length
        else:
            raise ValueError("not an ONNX file")
        if place > end:
            raise ValueError("the file is truncated")
        yield _Field(key >> 3, first, value, place)


def _framed(number: int, parts: list[Buffer]) -> list[Buffer]:
    """Wrap a message in a field."""
    return [varint(number << 3 | _BYTES), varint(sum(map(len, parts))), *parts]


def without_weights(data: Buffer, least: int) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """Remove the bytes of large weights.

    Args:
        data: The file.
        least: Weights of fewer bytes stay.

    Returns:
        The file without them, and the offset and length in bytes of each, by name.

    Raises:
        ValueError, IndexError: It is not an ONNX file, or it is truncated.
    """
    places: dict[str, tuple[int, int]] = {}
    parts: list[Buffer] = []
    for field in _fields(data, 0, len(data)):
        if field.number == _GRAPH:
            parts += _framed(_GRAPH, _slim_graph(data, field, least, places))
        else:
            parts.append(data[field.start : field.end])
    return b"".join(parts), places


def _slim_graph(
    data: Buffer, graph: _Field, least: int, places: dict[str, tuple[int, int]]
) -> list[Buffer]:
    parts: list[Buffer] = []
    for field in _fields(data, graph.value, graph.end):
        own = list(_fields(data, field.value, field.end)) if field.number == _INITIALIZER else []
        large = [x for x in own if x.number == _RAW_DATA and x.end - x.value >= least]
        names = [bytes(data[x.value : x.end]).decode() for x in own if x.number == _NAME]
        if len(large) != 1 or len(names) != 1 or names[0] in places:
            parts.append(data[field.start : field.end])
            continue
        places[names[0]] = (large[0].value, large[0].end - large[0].value)
        kept: list[Buffer] = [data[x.start : x.end] for x in own if x is not large[0]]
        parts += _framed(_INITIALIZER, kept)
    return parts


def sizes_with_weights(data: bytes, weights: Mapping[str, int]) -> int:
    """Return the bytes of a file after weights of these lengths are inserted."""
    return sum(len(part) if isinstance(part, bytes) else part[1] for part in _plan(data, weights))


def with_weights(data: bytes, weights: Mapping[str, int]) -> Iterator[bytes | str]:
    """Insert weights into a file without them.

    Args:
        data: The file.
        weights: Length of each weight in bytes, by name.

    Yields:
        The bytes of the file in order; for a weight, its name.
    """
    for part in _plan(data, weights):
        yield part if isinstance(part, bytes) else part[0]


def _plan(data: bytes, weights: Mapping[str, int]) -> Iterator[bytes | tuple[str, int]]:
    for field in _fields(data, 0, len(data)):
        if field.number != _GRAPH:
            yield data[field.start : field.end]
            continue
        inner = list(_fill_graph(data, field, weights))
        length = sum(len(part) if isinstance(part, bytes) else part[1] for part in inner)
        yield varint(_GRAPH << 3 | _BYTES) + varint(length)
        yield from inner


def _fill_graph(
    data: bytes, graph: _Field, weights: Mapping[str, int]
) -> Iterator[bytes | tuple[str, int]]:
    for field in _fields(data, graph.value, graph.end):
        own = list(_fields(data, field.value, field.end)) if field.number == _INITIALIZER else []
        names = [(data[x.value : x.end].decode(), x.end) for x in own if x.number == _NAME]
        if len(names) != 1 or names[0][0] not in weights:
            yield data[field.start : field.end]
            continue
        name, place = names[0]
        key = varint(_RAW_DATA << 3 | _BYTES) + varint(weights[name])
        length = field.end - field.value + len(key) + weights[name]
        yield varint(_INITIALIZER << 3 | _BYTES) + varint(length) + data[field.value : place] + key
        yield name, weights[name]
        yield data[place : field.end]
