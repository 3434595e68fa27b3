"""Normalisations, exact along the axes that they do not average over."""

from acgraph.operators.entry import DATA, Input, Operator, Role, Trait

_SCALE, _STATISTIC = Input(Role.SCALE), Input(Role.STATISTIC)
_SAME = frozenset([Trait.SAME_SHAPE])
_ALONG = "inexact along its axis"


def _softmax(name: str, *traits: Trait) -> Operator:
    return Operator(
        name=name, rule="averaged", batch="softmax", kernel=name, note=_ALONG,
        traits=_SAME | {Trait.LOSSY, *traits},
    )  # fmt: skip


TABLE = (
    Operator(
        name="BatchNormalization", rule="batch_norm", batch="batch_norm",
        inputs=(DATA, _SCALE, _SCALE, _STATISTIC, _STATISTIC), kernel="BatchNormalization",
        note="scale, shift, mean, variance shrink along", traits=frozenset([Trait.CARRIES]),
    ),
    Operator(
        name="GroupNormalization", rule="group_norm", resize="group_norm",
        inputs=(DATA, _SCALE, _SCALE), batch="first_axis", kernel="GroupNormalization",
        note="whole groups; inside groups inexact",
    ),
    _softmax("Hardmax"),
    Operator(
        name="InstanceNormalization", rule="instance_norm", inputs=(DATA, _SCALE, _SCALE),
        batch="first_axis", kernel="InstanceNormalization", note="scale and shift shrink along",
    ),
    Operator(
        name="LayerNormalization", rule="layer_norm", inputs=(DATA, _SCALE, _SCALE),
        batch="before_axis_last", kernel="LayerNormalization",
        note="inexact along the normalised axes: --allow-inexact",
    ),
    _softmax("LogSoftmax"),
    Operator(name="LpNormalization", rule="averaged", batch="beside_axis_last",
             kernel="LpNormalization", note=_ALONG, traits=_SAME),
    Operator(name="LRN", rule="local_response", batch="first_axis", kernel="LRN",
             note="fenced along the channels", traits=_SAME),
    Operator(name="MeanVarianceNormalization", rule="mean_variance",
             kernel="MeanVarianceNormalization", note="inexact along its axes", traits=_SAME),
    Operator(
        name="RMSNormalization", rule="layer_norm", inputs=(DATA, _SCALE),
        batch="before_axis_last", kernel="RMSNormalization",
        note="inexact along the normalised axes",
    ),
    _softmax("Softmax", Trait.CARRIES),
)  # fmt: skip
