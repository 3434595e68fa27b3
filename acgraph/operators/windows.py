"""Pooling, sampling and resizing of images."""

from acgraph.operators.entry import DATA, Input, Operator, Role, Trait

_NUMBERS = Input(Role.NUMBERS)


def _pool(name: str, rule: str, *traits: Trait, note: str = "") -> Operator:
    return Operator(
        name=name, rule=rule, batch="first_axis", kernel=name, note=note,
        traits=frozenset([Trait.SPATIAL, *traits]),
    )  # fmt: skip


TABLE = (
    _pool("AveragePool", "pool", Trait.WINDOW),
    _pool("GlobalAveragePool", "global_pool"),
    _pool("GlobalLpPool", "global_pool"),
    _pool("GlobalMaxPool", "global_pool"),
    _pool("LpPool", "pool", Trait.WINDOW),
    _pool("MaxPool", "pool", Trait.WINDOW, note="fenced if its second output is used"),
    Operator(name="GridSample", rule="sample", batch="data_first", kernel="GridSample"),
    Operator(name="MaxRoiPool", rule="sample", kernel="MaxRoiPool"),
    Operator(name="RoiAlign", rule="sample", kernel="RoiAlign"),
    Operator(
        name="Resize", rule="resize", resize="resize",
        inputs=(DATA, _NUMBERS, _NUMBERS, Input(Role.SIZES, "sizes")), batch="resize",
        kernel="Resize", traits=frozenset([Trait.POSITIONAL, Trait.CARRIES]),
    ),
    Operator(
        name="Upsample", rule="resize", inputs=(DATA, Input(Role.SIZES)), kernel="Upsample",
        traits=frozenset([Trait.POSITIONAL]),
    ),
)  # fmt: skip
