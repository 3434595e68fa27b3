"""Normalisations; cuts are exact along the axes that are not normalised."""

from acgraph.operators.entry import DATA, Input, Operator, Role, Trait

_SCALE, _STATISTIC = Input(Role.SCALE), Input(Role.STATISTIC)
_SAME = frozenset([Trait.SAME_SHAPE])
_ALONG = "a cut of this axis is inexact"


def _softmax(name: str, *traits: Trait) -> Operator:
    return Operator(
        name=name, rule="averaged", batch="softmax", kernel=name, note=_ALONG,
        traits=_SAME | {Trait.LOSSY, *traits},
    )  # fmt: skip


TABLE = (
    Operator(
        name="BatchNormalization", rule="batch_norm", batch="batch_norm",
        inputs=(DATA, _SCALE, _SCALE, _STATISTIC, _STATISTIC), kernel="BatchNormalization",
        traits=frozenset([Trait.CARRIES]),
    ),
    Operator(
        name="GroupNormalization", rule="group_norm", resize="group_norm",
        inputs=(DATA, _SCALE, _SCALE), batch="first_axis", kernel="GroupNormalization",
    ),
    _softmax("Hardmax"),
    Operator(
        name="InstanceNormalization", rule="instance_norm", inputs=(DATA, _SCALE, _SCALE),
        batch="first_axis", kernel="InstanceNormalization",
    ),
    Operator(
        name="LayerNormalization", rule="layer_norm", inputs=(DATA, _SCALE, _SCALE),
        batch="before_axis_last", kernel="LayerNormalization",
        note="a cut of a normalised axis is inexact",
    ),
    _softmax("LogSoftmax"),
    Operator(name="LpNormalization", rule="averaged", batch="beside_axis_last",
             kernel="LpNormalization", note=_ALONG, traits=_SAME),
    Operator(name="LRN", rule="local_response", batch="first_axis", kernel="LRN",
             traits=_SAME),
    Operator(name="MeanVarianceNormalization", rule="mean_variance",
             kernel="MeanVarianceNormalization",
             note="a cut of one of these axes is inexact", traits=_SAME),
    Operator(
        name="RMSNormalization", rule="layer_norm", inputs=(DATA, _SCALE),
        batch="before_axis_last", kernel="RMSNormalization",
        note="a cut of a normalised axis is inexact",
    ),
    _softmax("Softmax", Trait.CARRIES),
)  # fmt: skip
