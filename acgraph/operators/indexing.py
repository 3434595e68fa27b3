"""Operators that pick or place elements by index."""

from acgraph.operators.entry import DATA, Input, Operator, Role, Trait

_INDICES = Input(Role.NUMBERS, "indices")
_MOVES = frozenset([Trait.MOVES])

TABLE = (
    Operator(
        name="Gather", rule="gather", resize="gather", batch="gather", kernel="Gather",
        inputs=(Input(Role.TABLE), _INDICES), note="constant indices of any rank that form a grid",
        traits=frozenset([Trait.MOVES, Trait.POSITIONAL, Trait.LEARNT, Trait.CARRIES]),
    ),
    Operator(name="GatherElements", rule="gather_elements", kernel="GatherElements",
             note="fenced along its axis", traits=_MOVES),
    Operator(
        name="GatherND", rule="gather_nd", resize="gather_nd", kernel="GatherND",
        inputs=(DATA, _INDICES), note="along axis 0; other indexed axes fenced",
        traits=_MOVES | {Trait.POSITIONAL},
    ),
    Operator(name="ScatterElements", rule="scatter_elements", kernel="ScatterElements",
             note="fenced along its axis", traits=_MOVES),
    Operator(name="ScatterND", rule="scatter_nd", kernel="ScatterND",
             note="fenced along the indexed axes", traits=_MOVES),
    Operator(
        name="TopK", rule="top_k", inputs=(DATA, Input(Role.NUMBERS)), batch="beside_axis_last",
        kernel="TopK", note="fenced along its axis", traits=frozenset([Trait.LOSSY]),
    ),
    Operator(name="Trilu", rule="trilu", kernel="Trilu", note="fenced along the triangle"),
)  # fmt: skip
