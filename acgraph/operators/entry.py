"""What the table says of one operator."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What an input of an operator is for."""

    #: Values that the operator computes with.
    DATA = "data"
    #: A factor of a product. Where it is a constant, it is the weight of a layer.
    FACTOR = "factor"
    #: Rows that indices pick. Where it is a constant, it is an embedding.
    TABLE = "table"
    #: The weight of a layer.
    WEIGHT = "weight"
    #: The bias of a layer.
    BIAS = "bias"
    #: A vector that training changes even where it holds a single number: scale, shift, slope.
    SCALE = "scale"
    #: A running mean or variance.
    STATISTIC = "statistic"
    #: The sizes of the output, an entry an axis: a cut rewrites them.
    SIZES = "sizes"
    #: Numbers each of which counts something by itself: repetitions, the ends of a range.
    COUNTS = "counts"
    #: Other numbers that say how: axes, bounds, pads, indices.
    NUMBERS = "numbers"


#: Roles of inputs whose values a rule reads, and that carry no channels.
STATING = frozenset([Role.SIZES, Role.COUNTS, Role.NUMBERS])


class Trait(StrEnum):
    """A property of an operator that some part of the program asks for."""

    #: Keeps all elements of input 0 as they are, seen as another shape, order or type.
    VIEW = "view"
    #: Hands elements of its inputs on as they are.
    MOVES = "moves"
    #: Tells the positions of an axis apart by their number, not only by which they are.
    POSITIONAL = "positional"
    #: The output has the shape of input 0.
    SAME_SHAPE = "same shape"
    #: The data is ``[N, C, positions ...]`` by definition.
    SPATIAL = "spatial"
    #: Slides a kernel over the data, which must fit into it.
    WINDOW = "window"
    #: Saturates, rounds, chooses, or joins values of any size: differences may vanish in it.
    LOSSY = "lossy"
    #: Plain arithmetic: a network may end with it where all operands but one are constants.
    ARITHMETIC = "arithmetic"
    #: Scales or shifts element by element.
    AFFINE = "affine"
    #: A constant operand that meets data here is a weight, if it is no scalar, mask or padding.
    LEARNT = "learnt"
    #: A weight may go through it on its way to a layer (weight standardisation, for instance).
    CARRIES = "carries"
    #: What it makes is no function of its inputs alone: it draws random numbers, depends on the
    #: mode, or runs a subgraph.
    IMPURE = "impure"


@dataclass(frozen=True, slots=True)
class Input:
    """One input of an operator.

    Attributes:
        role: What it is for.
        name: What a constant that is put there is called; empty where none ever is.
    """

    role: Role
    name: str = ""


DATA = Input(Role.DATA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """All that is known of one operator of ONNX's default domain.

    Functions are named here, and stand where their folder says, under that name; a test checks
    that each of them exists and is named.

    Attributes:
        name: Its ``op_type``.
        rule: How labels of inputs become labels of outputs (`acgraph.analysis.rules`); empty where
            the operator has none, because it holds no channels.
        resize: How a cut rewrites the sizes that the operator carries (the same folder); empty
            where it carries none.
        fence: Why no cut passes, a part of a sentence; empty where cuts pass.
        note: What exactly is cut, for the page of operators.
        macs: How its multiply-accumulates are counted (`acgraph.analysis.macs`); empty where it has
            none.
        layer: How its weight lies as a matrix of filters and columns (`acgraph.analysis.layers`);
            empty where its weight is no such matrix.
        inputs: Its inputs, in order. One alone stands for all; others that are not named are data.
        batch: How the batch axis moves (`acgraph.analysis.batch`); empty where it is not followed.
        kernel: What runs it in training (`acgraph.backends.torch.ops`); empty where nothing does.
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
        """Whether cuts pass the operator, or channels lie on it."""
        return bool(self.rule) and not self.fence

    @property
    def is_counted(self) -> bool:
        """Whether it sums products, which are what is counted."""
        return bool(self.macs)

    def input(self, index: int) -> Input:
        """Return what is known of an input."""
        if index < len(self.inputs):
            return self.inputs[index]
        return self.inputs[0] if len(self.inputs) == 1 else DATA

    def places(self, *roles: Role) -> tuple[int, ...]:
        """List the inputs that have one of these roles, of those that are named."""
        return tuple(i for i, each in enumerate(self.inputs) if each.role in roles)
