"""Every form computes what the masked dense layer computes, in ONNX Runtime."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgraph.ir import clone_model
from acgraph.lowering import Candidate, CostModelChooser
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


def conv_spec(lab: Any, kept: np.ndarray, filters: int = 5, **options: Any) -> Any:
    weight = lab.pruned_weight((filters, *kept.shape), kept)
    return lab.Spec(weight=weight, **{"spatial": (8, 8), "attrs": {"pads": [1] * 4}} | options)


def columns(channels: int, *positions: tuple[int, int]) -> np.ndarray:
    """All channels at some positions of a 3x3 kernel."""
    kept = np.zeros((channels, 3, 3), np.bool_)
    for row, column in positions:
        kept[:, row, column] = True
    return kept


def scattered(channels: int = 8, share: float = 0.4) -> np.ndarray:
    return np.random.default_rng(5).random((channels, 3, 3)) < share


def supports() -> np.ndarray:
    """Half of the channels use the first kernel row, half of them the last column."""
    kept = columns(8)
    kept[::2, 0, :] = True
    kept[1::2, :, 2] = True
    return kept


STRIDED = {"attrs": {"pads": [1] * 4, "strides": [2, 2]}}

EXPECTED: dict[str, tuple[np.ndarray, dict[str, Any], set[str]]] = {
    "scattered": (
        scattered(),
        {},
        {"gather:each-pad", "gather:joint-pad", "gather:each-slice", "gather:joint-slice"},
    ),
    "strided": (scattered(), STRIDED, {"gather:each-pad", "gather:joint-slice"}),
    "strided, odd": (scattered(), STRIDED | {"spatial": (7, 8)}, {"gather:joint-slice"}),
    "row": (columns(4, (0, 0), (0, 1), (0, 2)), {}, {"crop"}),
    "corners": (columns(4, (0, 0), (2, 2)), {}, {"crop", "gather:each-pad"}),
    "channels": (
        columns(6, *np.ndindex(3, 3)) & (np.arange(6) % 2 == 0)[:, None, None],
        {},
        {"channels"},
    ),
    "crop and channels": (
        columns(6, (1, 1)) & (np.arange(6) > 2)[:, None, None],
        {},
        {"crop", "crop:channels"},
    ),
    "rows of few channels": (supports(), {}, {"split:supports2"}),
    "two positions": (columns(4, (0, 0), (2, 1)), {}, {"split:axis0", "split:axis1"}),
    "tiny": (scattered(), {"spatial": (2, 2)}, {"gather:flat"}),
    "old opset": (scattered(), {"opset": 9}, {"gather:each-pad", "gather:each-slice"}),
    "new opset": (scattered(), {"opset": 21} | STRIDED, {"gather:each-pad", "gather:joint-slice"}),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_forms_that_a_support_gets(lab: Any, case: str) -> None:
    kept, options, expected = EXPECTED[case]
    labels = check_all_forms(lab, conv_spec(lab, kept, **options))
    assert {"dense", *expected} <= labels


@pytest.mark.parametrize("strides", [[1, 1], [2, 1]])
@pytest.mark.parametrize("size", [(5, 6), (9, 4), (16, 16)])
def test_dynamic_sizes(lab: Any, size: tuple[int, int], strides: list[int]) -> None:
    attrs = {"pads": [1, 0, 2, 1], "strides": strides, "dilations": [1, 2]}
    kept = scattered()
    kept[:, :, 0] = False
    labels = check_all_forms(lab, conv_spec(lab, kept, dynamic=True, attrs=attrs), size)
    assert "gather:joint-slice" in labels
    assert ("gather:joint-pad" in labels) == (strides == [1, 1])
    assert "gather:flat" not in labels


def test_columns_that_only_read_padding_are_dropped(lab: Any) -> None:
    spec = conv_spec(lab, columns(4, *np.ndindex(3, 3)), spatial=(1, 1))
    assert "crop" in check_all_forms(lab, spec)
    model = lab.conv_model(spec)
    (result,) = lower_columns(model, choose=CostModelChooser())
    assert (result.form, result.columns_before, result.columns_after) == ("crop", 36, 4)


def test_grouped_layers_are_cropped_or_dense(lab: Any) -> None:
    kept = columns(2, (0, 1), (1, 1), (2, 1))
    attrs = {"pads": [1] * 4, "group": 3}
    spec = conv_spec(lab, kept, filters=6, attrs=attrs)
    assert check_all_forms(lab, spec) == {"dense", "crop"}
    depthwise = conv_spec(lab, columns(1, (1, 1), (1, 2)), filters=6, attrs=attrs | {"group": 6})
    assert check_all_forms(lab, depthwise) == {"dense", "crop"}


def test_dense_layers_have_no_other_form(lab: Any) -> None:
    spec = conv_spec(lab, columns(4, *np.ndindex(3, 3)))
    pick = Pick(0)
    model = lab.conv_model(spec)
    (result,) = lower_columns(model, choose=pick)
    assert pick.labels == []  # nothing to choose
    assert result.form == "dense"


def test_same_padding_of_unknown_size_stays_dense(lab: Any) -> None:
    attrs = {"auto_pad": "SAME_UPPER", "strides": [2, 2]}
    model = lab.conv_model(conv_spec(lab, scattered(), dynamic=True, attrs=attrs))
    (result,) = lower_columns(model, choose=CostModelChooser(metric="params"))
    assert result.form == "dense"
    assert "SAME_UPPER" in result.remark
