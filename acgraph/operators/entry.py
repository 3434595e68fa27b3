"""The entry of one operator in the table, with the roles of its inputs and its traits."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """The purpose of an operator's input."""

    #: Values that the operator computes with.
    DATA = "data"
    #: A factor of a product. A constant factor is the weight of a layer.
    FACTOR = "factor"
    #: Rows that indices select. A constant table is an embedding.
    TABLE = "table"
    #: The weight of a layer.
    WEIGHT = "weight"
    #: The bias of a layer.
    BIAS = "bias"
    #: A vector that training changes even where it has a single element: scale, shift, slope.
    SCALE = "scale"
    #: A running mean or variance.
    STATISTIC = "statistic"
    #: The sizes of the output, one per axis: a cut rewrites them.
    SIZES = "sizes"
    #: Counts: repetitions, the ends of a range.
    COUNTS = "counts"
    #: Other integer parameters: axes, bounds, pads, indices.
    NUMBERS = "numbers"


#: Roles of inputs that parametrise the operator and carry no channels.
CONTROL_ROLES = frozenset([Role.SIZES, Role.COUNTS, Role.NUMBERS])


class Trait(StrEnum):
    """A property of an operator."""

    #: The output has exactly the elements of input 0, in another shape, order or type.
    VIEW = "view"
    #: Moves or copies elements of its inputs without changing their values.
    MOVES = "moves"
    #: The result depends on the index of a position along an axis.
    POSITIONAL = "positional"
    #: The output has the shape of input 0.
    SAME_SHAPE = "same shape"
    #: The data is ``[N, C, positions ...]`` by definition.
    SPATIAL = "spatial"
    #: Slides a kernel over the data; the kernel must fit into it.
    WINDOW = "window"
    #: Saturates, rounds, selects, or joins values of different magnitude: it can hide differences.
    LOSSY = "lossy"
    #: Plain arithmetic, which may postprocess an output with constant operands.
    ARITHMETIC = "arithmetic"
    #: Scales or shifts element by element.
    AFFINE = "affine"
    #: A constant operand beside data is a weight, unless it is a scalar, a mask or padding.
    LEARNT = "learnt"
    #: May compute a weight from constants (weight standardisation, for instance).
    CARRIES = "carries"
    #: The result depends on more than the inputs: random numbers, the mode, or a subgraph.
    IMPURE = "impure"


@dataclass(frozen=True, slots=True)
class Input:
    """One input of an operator.

    Attributes:
        role: Its purpose.
        name: Suffix of the name of a constant that is created for it; empty where none is.
    """

    role: Role
    name: str = ""


DATA = Input(Role.DATA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The entry of one operator of ONNX's default domain.

    Functions are referenced by name, and defined in the modules given below. A test checks that
    each of them exists and is referenced.

    Attributes:
        name: Its ``op_type``.
        rule: Propagates labels from inputs to outputs (`acgraph.analysis.rules`); empty where the
            operator has no channels.
        resize: Rewrites the sizes in the operator's inputs and attributes for a cut (the same
            folder); empty where it has none.
        fence: Why no cut crosses the operator, as a part of a sentence; empty where cuts do.
        note: Which cuts are supported, for docs/operators.md.
        macs: Counts its multiply-accumulates (`acgraph.analysis.macs`); empty where it has none.
        layer: Describes its weight as a matrix of filters and columns (`acgraph.analysis.layers`);
            empty where the weight is no such matrix.
        inputs: Its inputs, in order. A single entry describes all inputs; missing ones are data.
        batch: Propagates the batch axis (`acgraph.analysis.batch`); empty where it is not known.
        kernel: Runs it in training (`acgraph.backends.torch.ops`); empty where there is none.
        traits: Its properties.
    """

    name: str
    rule: str = ""
    resize: str = ""
    fence: str = ""
    note: str = ""
    macs: str = ""
    layer: str = ""
    inputs: tuple[Input, ...] = ()
    batch: str = ""
    kernel: str = ""
    traits: frozenset[Trait] = frozenset()

    @property
    def is_cut(self) -> bool:
        """Whether cuts cross the operator."""
        return bool(self.rule) and not self.fence

    @property
    def is_counted(self) -> bool:
        """Whether it has multiply-accumulates."""
        return bool(self.macs)

    def input(self, index: int) -> Input:
        """Return the entry of an input."""
        if index < len(self.inputs):
            return self.inputs[index]
        return self.inputs[0] if len(self.inputs) == 1 else DATA

    def places(self, *roles: Role) -> tuple[int, ...]:
        """Return the indices of the inputs with one of these roles."""
        return tuple(i for i, each in enumerate(self.inputs) if each.role in roles)
