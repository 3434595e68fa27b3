"""Operators that move or copy elements."""

from acgraph.operators.entry import DATA, Input, Operator, Role, Trait

_NUMBERS = Input(Role.NUMBERS)
#: Traits of operators that move elements of data and of weights.
_MOVED = frozenset([Trait.MOVES, Trait.CARRIES])
_VIEW = _MOVED | {Trait.VIEW}

TABLE = (
    Operator(
        name="Concat", rule="concatenate", batch="concat", kernel="Concat",
        traits=frozenset([Trait.POSITIONAL, Trait.LOSSY, Trait.LEARNT, Trait.CARRIES]),
    ),
    Operator(name="Col2Im", rule="col2im", inputs=(DATA, _NUMBERS, _NUMBERS), batch="first_axis",
             kernel="Col2Im", note="only whole channels can be cut"),
    Operator(
        name="DepthToSpace", rule="depth_to_space", batch="first_axis", kernel="DepthToSpace",
        traits=frozenset([Trait.MOVES, Trait.SPATIAL]),
    ),
    Operator(
        name="Expand", rule="expand", resize="expand", inputs=(DATA, Input(Role.SIZES, "shape")),
        batch="expand", kernel="Expand", traits=_MOVED,
    ),
    Operator(name="Flatten", rule="reshape", batch="flatten", kernel="Flatten", traits=_VIEW),
    Operator(
        name="Pad", rule="pad", resize="pad",
        note="a padded axis is fenced in modes other than constant",
        inputs=(DATA, Input(Role.NUMBERS, "pads"), _NUMBERS, Input(Role.NUMBERS, "axes")),
        batch="pad", kernel="Pad", traits=_MOVED | {Trait.POSITIONAL},
    ),
    Operator(
        name="Reshape", rule="reshape", resize="reshape",
        note="axes may be split and joined, and the sizes may be computed",
        inputs=(DATA, Input(Role.SIZES, "shape")), batch="reshape", kernel="Reshape", traits=_VIEW,
    ),
    Operator(name="ReverseSequence", rule="reverse_sequence", kernel="ReverseSequence"),
    Operator(
        name="Slice", rule="slice", resize="slice",
        note="an axis that is sliced with a step is fenced",
        inputs=(DATA, *(Input(Role.NUMBERS, name) for name in ("starts", "ends", "axes", "steps"))),
        batch="slice", kernel="Slice", traits=_MOVED | {Trait.POSITIONAL},
    ),
    Operator(
        name="SpaceToDepth", rule="space_to_depth", batch="first_axis", kernel="SpaceToDepth",
        traits=frozenset([Trait.MOVES, Trait.SPATIAL]),
    ),
    Operator(
        name="Split", rule="split", resize="split",
        note="the sizes of the parts may be stated or not",
        inputs=(DATA, Input(Role.NUMBERS, "sizes")), batch="beside_axis_0", kernel="Split",
        traits=_MOVED | {Trait.POSITIONAL},
    ),
    Operator(name="Squeeze", rule="reshape", inputs=(DATA, _NUMBERS), batch="squeeze",
             kernel="Squeeze", traits=_VIEW),
    Operator(
        name="Tile", rule="tile", inputs=(DATA, Input(Role.COUNTS)), batch="tile", kernel="Tile",
        traits=_MOVED | {Trait.POSITIONAL},
    ),
    Operator(name="Transpose", rule="transpose", batch="transpose", kernel="Transpose",
             traits=_VIEW),
    Operator(name="Unsqueeze", rule="reshape", inputs=(DATA, _NUMBERS), batch="unsqueeze",
             kernel="Unsqueeze", traits=_VIEW),
)  # fmt: skip
