"""Operators that gather or scatter elements by index."""

from acgraph.operators.entry import DATA, Input, Operator, Role, Trait

_INDICES = Input(Role.NUMBERS, "indices")
_MOVES = frozenset([Trait.MOVES])

TABLE = (
    Operator(
        name="Gather", rule="gather", resize="gather", batch="gather", kernel="Gather",
        inputs=(Input(Role.TABLE), _INDICES), note="indices of rank 2 or more must select a grid",
        traits=frozenset([Trait.MOVES, Trait.POSITIONAL, Trait.LEARNT, Trait.CARRIES]),
    ),
    Operator(name="GatherElements", rule="gather_elements", kernel="GatherElements",
             traits=_MOVES),
    Operator(
        name="GatherND", rule="gather_nd", resize="gather_nd", kernel="GatherND",
        inputs=(DATA, _INDICES), note="the indices must be constant",
        traits=_MOVES | {Trait.POSITIONAL},
    ),
    Operator(name="ScatterElements", rule="scatter_elements", kernel="ScatterElements",
             traits=_MOVES),
    Operator(name="ScatterND", rule="scatter_nd", kernel="ScatterND",
             traits=_MOVES),
    Operator(
        name="TopK", rule="top_k", inputs=(DATA, Input(Role.NUMBERS)), batch="beside_axis_last",
        kernel="TopK", traits=frozenset([Trait.LOSSY]),
    ),
    Operator(name="Trilu", rule="trilu", kernel="Trilu"),
)  # fmt: skip
