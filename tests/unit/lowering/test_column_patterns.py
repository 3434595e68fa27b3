"""Which pattern suits a layer, and which shapes of columns each kind of layer can have."""

from typing import Any

import numpy as np
import pytest

from acgraph.analysis.layers import Layer
from acgraph.errors import UsageError
from acgraph.lowering import ConvLayer, CostModel, candidates
from acgraph.lowering.patterns import best_pattern, check_pattern
from acgraph.pruning.layer_columns import (
    Shape,
    choose_columns,
    cut_columns,
    layer_matrix,
    possible_shape,
)
from acgraph.pruning.patterns import PATTERNS, project_columns
from acgraph.pruning.projection import column_mask


def random_weight(channels: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)


def worth(weight: np.ndarray, size: int, keep: int, pattern: str) -> float:
    """Estimated microseconds saved for each unit of squared norm lost, by its definition."""
    mask = project_columns(weight, keep, pattern)
    left = np.where(mask[None], weight, np.float32(0))
    model = CostModel()
    times = [model.latency_us(way.fragment) for way in candidates(ConvLayer.alone(left, size))]
    lost = 1 - float((left.astype(np.float64) ** 2).sum() / (weight.astype(np.float64) ** 2).sum())
    return (times[0] - min(times)) / lost


@pytest.mark.parametrize("share", [0.5, 0.25])
@pytest.mark.parametrize(("channels", "size"), [(16, 32), (64, 8), (64, 32)])
def test_auto_is_what_saves_most_for_what_it_loses(channels: int, size: int, share: float) -> None:
    weight = random_weight(channels)
    keep = round(share * channels * 9)
    values = {pattern: worth(weight, size, keep, pattern) for pattern in PATTERNS}
    found = best_pattern(ConvLayer.alone(weight, size), keep)
    assert values[found] == pytest.approx(max(values.values()), rel=1e-6)


def test_auto_is_free_where_large_columns_are_scattered() -> None:
    weight = random_weight(64)
    scattered = np.random.default_rng(1).random((64, 3, 3)) < 0.25
    weight[:, ~scattered] *= 0.05
    keep = int(scattered.sum())
    assert best_pattern(ConvLayer.alone(weight, 32), keep) == "free"


def test_auto_is_regular_where_a_layer_is_small() -> None:
    assert best_pattern(ConvLayer.alone(random_weight(16), 32), 72) in ("kernel", "box")


def test_auto_takes_only_what_it_is_given() -> None:
    layer = ConvLayer.alone(random_weight(16), 32)
    assert best_pattern(layer, 72, patterns=["free", "contiguous"]) in ("free", "contiguous")


def test_only_known_patterns_pass() -> None:
    assert check_pattern("auto") == "auto"
    with pytest.raises(UsageError, match="no column pattern is named 'round'"):
        check_pattern("round")


def test_channels_that_are_gone_do_not_break_a_range() -> None:
    weight = np.ones((2, 5, 1, 3), np.float32)
    weight[:, 2] = 0
    mask = column_mask(weight, 12, pattern="contiguous")
    assert mask.sum() == 12
    assert not mask[2].any()
    assert column_mask(weight, 6, pattern="kernel").sum() == 4  # one position of four channels


def layer(op: str, shape: tuple[int, ...], group: int = 1, **options: Any) -> Layer:
    kernel = tuple(shape[2:]) if op.startswith("Conv") else ()
    defaults = {"filter_axis": 0, "channel_axis": 1, "weight_input": 1}
    if op == "ConvTranspose":
        defaults |= {"filter_axis": 1, "channel_axis": 0}
    merged: dict[str, Any] = defaults | options
    channels = shape[merged["channel_axis"]]
    if op == "ConvTranspose":
        channels //= group
    return Layer(
        name="n",
        op_type=op,
        weight="w",
        weight_shape=shape,
        filters=shape[merged["filter_axis"]],
        columns=channels * int(np.prod(kernel)),
        group=group,
        kernel=kernel,
        **merged,
    )


@pytest.mark.parametrize(
    ("made", "wanted", "possible"),
    [
        (layer("Conv", (8, 4, 3, 3)), "kernel", Shape(pattern="kernel", multiple=2)),
        (layer("Conv", (8, 4, 1, 1)), "kernel", Shape(pattern="free", multiple=2)),
        (layer("Conv", (8, 4, 1)), "contiguous", Shape(pattern="contiguous", multiple=2)),
        (layer("Conv", (8, 4, 3, 3), 2), "free", Shape(pattern="box", multiple=4)),
        (layer("Conv", (8, 1, 3, 3), 8), "free", Shape(pattern="box", multiple=1)),
        (layer("ConvTranspose", (4, 8, 2, 2)), "free", Shape(pattern="channels")),
        (layer("Gemm", (8, 4)), "box", Shape(pattern="free", multiple=2)),
    ],
)
def test_each_kind_of_layer_gets_the_nearest_shape(
    made: Layer, wanted: str, possible: Shape
) -> None:
    assert possible_shape(made, Shape(pattern=wanted, multiple=2)) == possible


CUT = [
    (layer("Conv", (5, 4, 3)), (0,)),
    (layer("Conv", (6, 2, 3, 3), 3), (0,)),
    (layer("ConvTranspose", (4, 5, 2, 2)), (1,)),
    (layer("Gemm", (5, 12)), (0,)),
    (layer("Gemm", (12, 5), filter_axis=1, channel_axis=0), (1,)),
    (layer("MatMul", (3, 12, 5), 3, filter_axis=2, channel_axis=1), (0, 2)),
]


@pytest.mark.parametrize(("made", "others"), CUT)
def test_a_cut_zeroes_the_columns_of_least_norm(made: Layer, others: tuple[int, ...]) -> None:
    weight = np.random.default_rng(4).standard_normal(made.weight_shape).astype(np.float32)
    shape = possible_shape(made, Shape(pattern="free"))
    half = made.columns // 2
    kept = choose_columns(layer_matrix(made, weight), half, shape)
    cut = cut_columns(made, weight, kept)
    assert cut.dtype == weight.dtype
    left = (cut != 0).any(axis=others)
    assert np.array_equal(left, kept.reshape(left.shape))
    assert 0 < left.sum() <= half
    assert np.array_equal(cut[cut != 0], weight[cut != 0])
    norms = np.sqrt((weight**2).sum(axis=others))
    if shape.pattern == "free":
        assert norms[left].min() >= norms[~left].max()


def test_a_transposed_convolution_keeps_whole_channels() -> None:
    made = layer("ConvTranspose", (4, 5, 2, 2))
    weight = np.ones((4, 5, 2, 2), np.float32) * np.arange(4).reshape(4, 1, 1, 1)
    kept = choose_columns(layer_matrix(made, weight), 9, Shape(pattern="channels"))
    assert kept.all(axis=(1, 2)).tolist() == [False, False, True, True]
    assert kept.sum() == 8
