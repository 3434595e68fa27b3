"""ConvTranspose on fewer channels and smaller kernels equals the masked layer."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgraph.ir import clone_model
from acgraph.lowering import Candidate, CostModel
from acgraph.passes.lower_columns import lower_columns


class Pick:
    """Takes candidate ``number``; remembers the labels."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.ways: list[Candidate] = []

    def choose(self, candidates: Any) -> Candidate:
        self.ways = list(candidates)
        return self.ways[self.number]


def check_all(lab: Any, weight: np.ndarray, spatial: tuple[int, ...], **attrs: Any) -> set[str]:
    """Compare every candidate with the dense layer; return the labels."""
    dense = lab.node_model("ConvTranspose", weight, [1, weight.shape[0], *spatial], **attrs)
    x = np.random.default_rng(7).standard_normal((1, weight.shape[0], *spatial))
    x = x.astype(np.float32)
    wanted = lab.run(dense, x)
    pick = Pick()
    lower_columns(clone_model(dense), choose=pick)
    for number, way in enumerate(pick.ways):
        lowered = clone_model(dense)
        (result,) = lower_columns(lowered, choose=Pick(number))
        got = lab.run(lowered, x)
        assert got.shape == wanted.shape, way.label
        assert lab.relative_error(got, wanted) < 1e-4, way.label
        assert CostModel().latency_us(way.fragment) > 0
        used = int((weight != 0).any(axis=1).sum())
        if attrs.get("group", 1) == 1:
            assert bool(result.remark) == (way.columns > max(1, used))
    return {"dense", *(way.label for way in pick.ways)}


def masked(shape: tuple[int, ...], kept: np.ndarray, seed: int = 0) -> np.ndarray:
    """``[I, O, *kernel]`` with columns ``[I, *kernel]`` zeroed whose flag is off."""
    weight = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return np.where(kept[:, None], weight, np.float32(0))


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    rank = draw(st.integers(1, 3))
    group = draw(st.sampled_from([1, 1, 1, 2]))
    channels, filters = group * draw(st.integers(1, 4)), draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 4 if rank < 3 else 3)) for _ in range(rank))
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    spatial = tuple(draw(st.integers(2, 5)) for _ in range(rank))
    attrs: dict[str, Any] = {"group": group, "strides": strides, "dilations": dilations}
    most = [min(2, (k - 1) * d) for k, d in zip(kernel, dilations, strict=True)]
    sizing = draw(st.sampled_from(["pads", "pads", "SAME_UPPER", "output_shape"]))
    if sizing == "pads":
        attrs["pads"] = [draw(st.integers(0, m)) for m in (*most, *most)]
        # ONNX Runtime takes no output padding of a stride and more.
        attrs["output_padding"] = [draw(st.integers(0, stride - 1)) for stride in strides]
        outputs = [
            s * (n - 1) + p + (k - 1) * d + 1 - attrs["pads"][i] - attrs["pads"][rank + i]
            for i, (s, n, p, k, d) in enumerate(
                zip(strides, spatial, attrs["output_padding"], kernel, dilations, strict=True)
            )
        ]
        if min(outputs) < 1:
            attrs["pads"] = [0] * 2 * rank
    elif sizing == "SAME_UPPER":
        attrs["auto_pad"] = sizing
        attrs["dilations"] = [1] * rank
        attrs["strides"] = [min(s, k) for s, k in zip(strides, kernel, strict=True)]
    else:
        attrs["output_shape"] = [
            s * (n - 1) + (k - 1) * d + 1
            for s, n, k, d in zip(strides, spatial, kernel, dilations, strict=True)
        ]
    shape = (channels, *kernel)
    flags = st.lists(st.booleans(), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    kept = np.array(draw(flags)).reshape(shape)
    style = draw(st.sampled_from(["random", "positions", "channels"]))
    if style == "positions":
        kept[:] = kept[:1]
    elif style == "channels":
        kept = np.broadcast_to(kept.reshape(channels, -1)[:, :1], (channels, kept[0].size))
        kept = kept.reshape(shape)
    weight = masked((channels, filters, *kernel), kept, draw(st.integers(0, 9)))
    bias = draw(st.booleans())
    if bias:
        attrs["bias"] = np.linspace(-1, 1, filters * group).astype(np.float32)
    return {"weight": weight, "spatial": spatial, **attrs}


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(made=cases())
def test_every_form_equals_the_masked_layer(lab: Any, made: dict[str, Any]) -> None:
    check_all(lab, made.pop("weight"), made.pop("spatial"), **made)


def at(*positions: tuple[int, int]) -> np.ndarray:
    kept = np.zeros((4, 4, 4), np.bool_)
    for row, column in positions:
        kept[:, row, column] = True
    return kept


CENTRE = at(*[(i, j) for i in (1, 2) for j in (1, 2)])
UPSAMPLE = {"strides": [2, 2], "pads": [1] * 4}


def test_unused_channels_go(lab: Any) -> None:
    kept = np.ones((4, 4, 4), np.bool_)
    kept[[0, 2]] = False
    assert check_all(lab, masked((4, 3, 4, 4), kept), (5, 6), **UPSAMPLE) == {"dense", "channels"}


def test_unused_borders_go_where_the_pads_allow_it(lab: Any) -> None:
    weight = masked((4, 3, 4, 4), CENTRE)
    assert check_all(lab, weight, (5, 6), **UPSAMPLE) == {"dense", "crop"}
    # Without pads the first output row is bias alone, which no smaller kernel makes.
    assert check_all(lab, weight, (5, 6), strides=[2, 2]) == {"dense"}


def test_what_is_missing_after_becomes_output_padding(lab: Any) -> None:
    kept = at(*[(i, j) for i in range(3) for j in range(3)])
    weight = masked((4, 3, 4, 4), kept)
    assert check_all(lab, weight, (5, 6), strides=[2, 2]) == {"dense", "crop"}
    assert check_all(lab, weight, (5, 6)) == {"dense"}  # an output padding of a whole stride


@pytest.mark.parametrize("sizing", [{"auto_pad": "SAME_UPPER"}, {"output_shape": [10, 12]}])
def test_the_kernel_stays_where_the_output_size_sets_the_pads(lab: Any, sizing: Any) -> None:
    kept = CENTRE.copy()
    kept[1] = False
    labels = check_all(lab, masked((4, 3, 4, 4), kept), (5, 6), strides=[2, 2], **sizing)
    assert labels == {"dense", "channels"}


def test_scattered_columns_stay_and_say_why(lab: Any) -> None:
    kept = np.random.default_rng(0).random((4, 4, 4)) < 0.5
    model = lab.node_model("ConvTranspose", masked((4, 3, 4, 4), kept), [1, 4, 5, 6], **UPSAMPLE)
    (result,) = lower_columns(model, choose=Pick())
    assert result.form == "dense"
    assert (
        result.remark
        == "only whole input channels and kernel borders can be removed from a ConvTranspose"
    )


def test_names_say_layer_and_form(lab: Any) -> None:
    kept = CENTRE.copy()
    kept[[0, 2]] = False
    model = lab.node_model("ConvTranspose", masked((4, 3, 4, 4), kept), [1, 4, 5, 6], **UPSAMPLE)
    lower_columns(model, choose=Pick(2))
    names = [node.name for node in model.graph.nodes]
    assert names == ["layer/crop.channels", "layer/crop.convtranspose"]
    assert set(model.constants()) >= {"w/crop.columns"}
