"""Every form computes what the masked dense layer computes, in ONNX Runtime."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgraph.ir import clone_model
from acgraph.lowering import Candidate
from acgraph.passes.lower_columns import lower_columns


class Pick:
    """Chooses candidate ``number``; remembers how many there were."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.labels: list[str] = []

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        self.labels = [candidate.label for candidate in candidates]
        return candidates[self.number]


def check_all_forms(lab: Any, spec: Any, spatial: tuple[int, ...] | None = None) -> set[str]:
    """Compare every candidate with the dense layer; return the labels."""
    dense = lab.conv_model(spec)
    sizes = (spec.batch, spec.weight.shape[1] * spec.attrs.get("group", 1))
    x = np.random.default_rng(7).standard_normal((*sizes, *(spatial or spec.spatial)))
    x = x.astype(spec.weight.dtype)
    wanted = lab.run(dense, x)
    pick = Pick(0)
    lower_columns(clone_model(dense), choose=pick)
    labels = pick.labels
    for number, label in enumerate(labels):
        lowered = clone_model(dense)
        (result,) = lower_columns(lowered, choose=Pick(number))
        for optimise in (False, True):
            got = lab.run(lowered, x, optimise)
            assert got.shape == wanted.shape, label
            assert lab.relative_error(got, wanted) < 1e-4, label
        assert result.columns_after <= result.columns_before
        assert result.variant in label
    return set(labels)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    rank = draw(st.integers(1, 3))
    group = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels, filters = draw(st.integers(1, 6)), group * draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 4 if rank < 3 else 3)) for _ in range(rank))
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    spatial = tuple(r + draw(st.integers(1, 5)) for r in reach)
    attrs: dict[str, Any] = {"group": group, "strides": strides, "dilations": dilations}
    pad = draw(st.sampled_from(["none", "some", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if pad == "some":
        attrs["pads"] = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    elif pad != "none":
        attrs |= {"auto_pad": pad, "dilations": [1] * rank}  # ONNX Runtime takes no others
    style = draw(st.sampled_from(["random", "few", "positions", "channels"]))
    kept = np.zeros((channels, *kernel), np.bool_)
    flags = st.lists(st.booleans(), min_size=kept.size, max_size=kept.size)
    if style == "random":
        kept = np.array(draw(flags)).reshape(kept.shape)
    elif style == "few":
        for _ in range(3):
            kept.reshape(-1)[draw(st.integers(0, kept.size - 1))] = True
    elif style == "positions":
        kept[:] = np.array(draw(flags)).reshape(kept.shape)[:1]
    else:
        kept[np.array(draw(flags))[:channels]] = True
    seed = draw(st.integers(0, 9))
    return {
        "shape": (filters, channels, *kernel),
        "kept": kept,
        "seed": seed,
        "spatial": spatial,
        "attrs": attrs,
        "bias": draw(st.booleans()),
        "batch": draw(st.integers(1, 2)),
        "opset": draw(st.sampled_from([8, 10, 11, 13, 18, 21])),
    }


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(made=specs())
def test_every_form_equals_the_masked_layer(lab: Any, made: dict[str, Any]) -> None:
    weight = lab.pruned_weight(made.pop("shape"), made.pop("kept"), made.pop("seed"))
    check_all_forms(lab, lab.Spec(weight=weight, **made))
