"""Reductions, and cumulative sums along an axis."""

from acgraph.operators.entry import DATA, Input, Operator, Role, Trait

_AXES = (DATA, Input(Role.NUMBERS))


def _reduction(name: str, rule: str, *traits: Trait) -> Operator:
    return Operator(
        name=name, rule=rule, inputs=_AXES, batch="reduce", kernel=name,
        traits=frozenset(traits),
    )  # fmt: skip


def _arg(name: str) -> Operator:
    return Operator(
        name=name, rule="arg_reduce", batch="arg", kernel=name,
        traits=frozenset([Trait.LOSSY]),
    )  # fmt: skip


TABLE = (
    _arg("ArgMax"),
    _arg("ArgMin"),
    Operator(name="CumSum", rule="cumulate", inputs=_AXES, batch="cum_sum", kernel="CumSum"),
    _reduction("ReduceL1", "reduce_ignoring_zeros"),
    _reduction("ReduceL2", "reduce_ignoring_zeros", Trait.CARRIES),
    _reduction("ReduceLogSum", "reduce_log"),
    _reduction("ReduceLogSumExp", "reduce_log"),
    _reduction("ReduceMax", "reduce"),
    Operator(
        name="ReduceMean", rule="reduce_ignoring_zeros", resize="mean", inputs=_AXES,
        batch="reduce", kernel="ReduceMean",
        note="the mean is then rescaled to the number of positions in the dense model",
        traits=frozenset([Trait.CARRIES]),
    ),
    _reduction("ReduceMin", "reduce"),
    _reduction("ReduceProd", "reduce"),
    _reduction("ReduceSum", "reduce_ignoring_zeros", Trait.CARRIES),
    _reduction("ReduceSumSquare", "reduce_ignoring_zeros", Trait.CARRIES),
)  # fmt: skip
