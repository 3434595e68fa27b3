"""Input sizes of a model: chosen once, and the same for every part of a run.

A file may leave input sizes open. Analysis, costs, the equivalence check, measurements and training
must use the same ones, so the choice is a value (``InputSizes``) that is stored with the model.
Sizes stated by the user come first, then those of the data, then those of the file. The remaining
ones are assumed, and a remark lists them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeGuard

import numpy as np

from acgraph.diagnostics import Location
from acgraph.errors import UsageError
from acgraph.ir.model import InputSizes, Model, Shape

Size = int | str | None
#: Symbolic names that denote the batch on any axis.
_BATCH_NAME = re.compile(r"\w*batch\w*|bsz|bs", re.I)
#: Symbolic names that denote the batch where they occur on axis 0 of some input.
_MAYBE_BATCH = frozenset("nNbB")
#: Common numbers of image channels, which identify the channel axis.
_COLOURS = (1, 3, 4)

#: Candidates for open heights and widths of images, the most likely first.
IMAGES = (
    (224, 224), (256, 256), (320, 320), (640, 640), (512, 512), (416, 416), (48, 320), (32, 320),
    (32, 100), (32, 128), (64, 64), (128, 128), (32, 32), (28, 28), (96, 96), (112, 112),
    (160, 160), (299, 299), (300, 300), (384, 384), (240, 320), (480, 640), (1024, 1024), (16, 16),
    (8, 8), (24, 24), (12, 12),
)  # fmt: skip
#: Candidates for open lengths of feature sequences, waveforms and tokens, for frames of clips, and
#: for numbers of channels.
SEQUENCES = (16, 100, 128, 80, 64, 256, 512, 1000, 1024, 3000, 16000, 32, 400, 768, 48000)
WAVES = (16, 512, 16000, 576, 1024, 4096, 128, 400, 1280, 48000, 64, 32)
TOKENS = (16, 128, 77, 64, 256, 512, 1, 384)
CLIPS = (16, 8, 32, 4)
CHANNELS = (3, 1, 4, 2, 16, 64)


@dataclass(frozen=True, slots=True)
class Declared:
    """The declaration of one input in a file.

    Attributes:
        name: Name of the input.
        shape: Sizes; a symbolic name or None where a size is open. None for an unknown rank.
        is_float: Whether the input takes floats or pixels rather than indices.
    """

    name: str
    shape: tuple[Size, ...] | None
    is_float: bool = True

    def text(self) -> str:
        """Return the declaration for a message: ``x [N, 3, ?, 320]``."""
        if self.shape is None:
            return f"{self.name} [of any rank]"
        return f"{self.name} [{', '.join('?' if s is None else str(s) for s in self.shape)}]"


def declared_inputs(model: Model) -> tuple[Declared, ...]:
    """Return the declarations of a model's inputs."""
    return tuple(
        Declared(tensor.name, declared_shape(tensor.shape), _is_float(tensor.dtype))
        for tensor in model.graph.inputs
    )


def declared_shape(shape: Sequence[object] | None) -> tuple[Size, ...] | None:
    """Normalise a declared shape: positive numbers, symbolic names, and None for unknown sizes."""
    if shape is None:
        return None
    return tuple(
        size if (isinstance(size, int) and size > 0) or _is_name(size) else None for size in shape
    )


def _is_name(size: object) -> TypeGuard[str]:
    """Return whether a size is a symbolic name, not a text for an unknown size.

    Axes with the same name have the same size. Exporters write ``?``, ``-1`` or ``None`` for
    unknown sizes, which may differ.
    """
    if not isinstance(size, str) or size == "None" or size.lstrip("-").isdigit():
        return False
    return any(letter.isalnum() for letter in size)


def is_batch_name(size: Size) -> bool:
    """Return whether a symbolic name denotes the batch on any axis."""
    return isinstance(size, str) and _BATCH_NAME.fullmatch(size) is not None


def _is_float(dtype: object) -> bool:
    try:
        kind = np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError:
        return True  # bfloat16 and others that numpy does not know
    return bool(kind.kind == "f" or kind == np.uint8)


@dataclass(frozen=True, slots=True)
class Choice:
    """Open axes whose sizes are chosen together.

    Attributes:
        axes: Symbolic names of sizes, or ``"input:axis"`` for an axis without a name.
        options: Candidate sizes of these axes, the most likely first.
        is_batch: Whether it is the batch axis, whose size is 1 and needs no remark.
        is_image: Whether the axes are height or width of an image, which many networks accept at
            any size.
    """

    axes: tuple[str, ...]
    options: tuple[tuple[int, ...], ...]
    is_batch: bool = False
    is_image: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """The known input sizes, before any are assumed.

    Attributes:
        inputs: The declarations in the file.
        stated: Sizes from the user or the data, by axis as in ``Choice``.
        wanted: Sizes that the weights of the first layers require, by input and axis.
        layouts: ``"NHWC"`` for inputs whose consumers move the channels from the last axis.
    """

    inputs: tuple[Declared, ...]
    stated: Mapping[str, int] = field(default_factory=dict)
    wanted: Mapping[tuple[str, int], int] = field(default_factory=dict)
    layouts: Mapping[str, str] = field(default_factory=dict)

    def choices(self) -> list[Choice]:
        """Return the open sizes, each once."""
        taken = set(self.stated)
        found = []
        for choice in chain.from_iterable(self._of_input(entry) for entry in self.inputs):
            kept = [i for i, axis in enumerate(choice.axes) if axis not in taken]
            if kept:
                axes = tuple(choice.axes[i] for i in kept)
                options = dict.fromkeys(tuple(o[i] for i in kept) for o in choice.options)
                found.append(replace(choice, axes=axes, options=tuple(options)))
                taken.update(axes)
        return found

    def _of_input(self, entry: Declared) -> Iterator[Choice]:
        names = axis_names(entry)
        open_axes = [i for i, size in enumerate(entry.shape or ()) if not isinstance(size, int)]
        if len(names) > 1 or not entry.is_float:
            batch = [i for i in open_axes if i == 0 or self._is_batch(entry, names[i], i)]
            yield from (Choice((names[i],), ((1,),), is_batch=True) for i in batch)
            open_axes = [i for i in open_axes if i not in batch]
        for axis in list(open_axes):
            if (entry.name, axis) in self.wanted:
                yield Choice((names[axis],), ((self.wanted[entry.name, axis],),))
                open_axes.remove(axis)
        rank = len(names)
        if entry.is_float and rank in (4, 5):
            yield from self._of_image(entry, names, open_axes)
        else:
            lengths = _lengths(rank) if entry.is_float else TOKENS
            yield from (Choice((names[i],), tuple((s,) for s in lengths)) for i in open_axes)

    def _is_batch(self, entry: Declared, name: str, axis: int) -> bool:
        if ":" in name or name not in (entry.shape or ()):
            # The state of a recurrent network: [layers, batch, units].
            others = [size for i, size in enumerate(entry.shape or ()) if i != axis]
            is_state = len(others) == 2 and axis == 1 and entry is not self.inputs[0]
            return is_state and all(isinstance(s, int) for s in others) and others[0] != 1
        if name in _MAYBE_BATCH:
            return any(entry.shape and entry.shape[0] == name for entry in self.inputs)
        return is_batch_name(name)

    def _of_image(
        self, entry: Declared, names: Sequence[str], open_axes: Sequence[int]
    ) -> Iterator[Choice]:
        rank = len(names)
        channels_last = self._is_channels_last(entry)
        channel = rank - 1 if channels_last else 1
        height = rank - (3 if channels_last else 2)
        for axis in open_axes:
            if axis == channel:
                yield Choice((names[axis],), tuple((c,) for c in CHANNELS))
            elif axis < height:
                yield Choice((names[axis],), tuple((c,) for c in CLIPS))
        sides = [axis for axis in (height, height + 1) if axis in open_axes]
        if len(sides) == 2 and names[height] == names[height + 1]:
            squares = dict.fromkeys((a,) for a, b in IMAGES if a == b)
            yield Choice((names[height],), tuple(squares), is_image=True)
        elif sides:
            pairs = [tuple(pair[axis - height] for axis in sides) for pair in IMAGES]
            assert entry.shape is not None
            other = entry.shape[height if sides[0] != height else height + 1]
            if len(sides) == 1 and isinstance(other, int):
                pairs.insert(1, (other,))
            axes = tuple(names[axis] for axis in sides)
            yield Choice(axes, tuple(dict.fromkeys(pairs)), is_image=True)

    def _is_channels_last(self, entry: Declared) -> bool:
        if entry.name in self.layouts:
            return self.layouts[entry.name] == "NHWC"
        shape = entry.shape or ()
        return shape[-1] in _COLOURS and shape[1] not in _COLOURS

    def shapes(self, values: Mapping[str, int]) -> dict[str, Shape]:
        """Return the shapes of all inputs of known rank, with the given sizes of open axes."""
        found = {}
        for entry in self.inputs:
            if entry.shape is None:
                continue
            pairs = zip(entry.shape, axis_names(entry), strict=True)
            found[entry.name] = tuple(
                size if isinstance(size, int) else self.stated.get(name, values.get(name, 1))
                for size, name in pairs
            )
        return found

    def specs(self) -> dict[str, tuple[Size, ...]]:
        """Return the declared shapes, completed by the stated sizes only."""
        return {
            entry.name: tuple(
                size if isinstance(size, int) else self.stated.get(name, size)
                for size, name in zip(entry.shape, axis_names(entry), strict=True)
            )
            for entry in self.inputs
            if entry.shape is not None
        }

    def first_values(self) -> dict[str, int]:
        """Return the most likely size of every open axis."""
        return {
            axis: size
            for choice in self.choices()
            for axis, size in zip(choice.axes, choice.options[0], strict=True)
        }

    def assumed(self) -> tuple[str, ...]:
        """Return the names of the inputs with an assumed size other than the batch size."""
        open_axes = {axis for c in self.choices() if not c.is_batch for axis in c.axes}
        return tuple(e.name for e in self.inputs if open_axes & set(axis_names(e)))


def _lengths(rank: int) -> tuple[int, ...]:
    return WAVES if rank <= 2 else SEQUENCES


def axis_names(entry: Declared) -> tuple[str, ...]:
    """Return the names of the axes of an input: symbolic names, or ``"input:axis"``."""
    return tuple(
        size if isinstance(size, str) else f"{entry.name}:{axis}"
        for axis, size in enumerate(entry.shape or ())
    )


@dataclass(frozen=True, slots=True)
class OpenAxis:
    """A size that the file leaves open: its value in this run, and whether it is the batch."""

    size: int
    is_batch: bool


def open_axes(inputs: Iterable[Declared], shapes: Mapping[str, Shape]) -> dict[str, OpenAxis]:
    """Return the sizes that a file leaves open, by axis name, with their values in ``shapes``."""
    ranked = _ranked(inputs, shapes)
    sizes = {
        name: size
        for entry in ranked
        for name, size in zip(axis_names(entry), shapes.get(entry.name, ()), strict=False)
    }
    return {
        axis: OpenAxis(sizes[axis], choice.is_batch)
        for choice in Known(ranked).choices()
        for axis in choice.axes
        if axis in sizes
    }


def resized(
    inputs: Iterable[Declared], shapes: Mapping[str, Shape], sizes: Mapping[str, int]
) -> dict[str, Shape]:
    """Replace open sizes in the shapes of inputs, by the axis names of ``open_axes``."""
    return {
        entry.name: tuple(
            size if isinstance(declared, int) else sizes.get(name, size)
            for declared, name, size in zip(
                entry.shape or (), axis_names(entry), shapes[entry.name], strict=True
            )
        )
        for entry in _ranked(inputs, shapes)
        if entry.name in shapes
    }


def with_batch(
    inputs: Sequence[Declared], shapes: Mapping[str, Shape], batch: int
) -> dict[str, Shape]:
    """Return the shapes of inputs at another batch size, where the file leaves it open."""
    found = open_axes(inputs, shapes)
    return resized(inputs, shapes, {name: batch for name, axis in found.items() if axis.is_batch})


def _ranked(inputs: Iterable[Declared], shapes: Mapping[str, Shape]) -> tuple[Declared, ...]:
    """Replace unknown ranks by those in ``shapes``."""
    return tuple(
        Declared(entry.name, (None,) * len(shapes[entry.name]), entry.is_float)
        if entry.shape is None and entry.name in shapes
        else entry
        for entry in inputs
    )


def state(inputs: Iterable[Declared], stated: Mapping[str, Shape] | None, where: Location) -> Known:
    """Combine stated shapes with the declarations in the file.

    Args:
        inputs: The declarations.
        stated: Complete shapes by input. The name may be empty for a model with one input.
        where: Location for messages.

    Raises:
        UsageError: There is no such input, or the file declares another size or rank.
    """
    known = {entry.name: entry for entry in inputs}
    values: dict[str, int] = {}
    for name, shape in (stated or {}).items():
        entry = known.get(name) if name or len(known) != 1 else next(iter(known.values()))
        if entry is None:
            wrong = f"no input is named '{name}'" if name else "a shape names no input"
            raise _contradiction(wrong, known.values(), where)
        text = ",".join(map(str, shape))
        if entry.shape is None:
            entry = Declared(entry.name, (None,) * len(shape), entry.is_float)
            known[entry.name] = entry
        assert entry.shape is not None
        pairs = zip(entry.shape, shape, strict=False)
        if len(entry.shape) != len(shape) or any(isinstance(d, int) and d != s for d, s in pairs):
            raise _contradiction(
                f"the shape {entry.name}:{text} does not fit", known.values(), where
            )
        for axis, size, declared in zip(axis_names(entry), shape, entry.shape, strict=True):
            if isinstance(declared, int):
                continue
            if values.setdefault(axis, size) != size:
                raise _contradiction(
                    f"the size '{axis}' is stated as {values[axis]} and as {size}",
                    known.values(),
                    where,
                )
    return Known(tuple(known.values()), values)


def _contradiction(text: str, inputs: Iterable[Declared], where: Location) -> UsageError:
    listed = ", ".join(entry.text() for entry in inputs) or "none"
    return UsageError(text, location=where, hint=f"the inputs are {listed}")


def default_sizes(known: Known) -> InputSizes:
    """Assume the most likely value of every open size, without trying it on the graph."""
    return InputSizes(known.shapes(known.first_values()), known.assumed())


def input_sizes(model: Model) -> InputSizes:
    """Return the input sizes of a model: the chosen ones, else the most likely ones."""
    if model.sizes is not None:
        return model.sizes
    return default_sizes(Known(declared_inputs(model)))
