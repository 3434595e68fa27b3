"""Kernels that sample images, and those of operators that few exporters write."""

from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.errors import UnsupportedOpError

GRIDS = [
    (20, "linear", "zeros", 0),
    (20, "nearest", "border", 0),
    (20, "cubic", "zeros", 0),
    (20, "cubic", "border", 1),
    (16, "bilinear", "reflection", 1),
    (16, "bilinear", "border", 0),
]


@pytest.mark.parametrize(("opset", "mode", "padding", "corners"), GRIDS)
def test_grid_sample(
    compare: Any, normal: Any, opset: int, mode: str, padding: str, corners: int
) -> None:
    feeds = {"x": normal(2, 3, 7, 6), "grid": normal(2, 5, 4, 2)}
    compare(
        "GridSample", feeds, opset=opset, mode=mode, padding_mode=padding, align_corners=corners
    )


def test_grid_sample_of_volumes(compare: Any, normal: Any) -> None:
    compare("GridSample", {"x": normal(1, 2, 4, 5, 6), "grid": normal(1, 3, 2, 4, 3)})


def test_a_cubic_that_differs_is_refused(build: Any, normal: Any) -> None:
    feeds = {"x": normal(1, 1, 4, 4), "grid": normal(1, 2, 2, 2)}
    node = helper.make_node("GridSample", ["x", "grid"], ["y"], mode="cubic", padding_mode="border")
    with pytest.raises(UnsupportedOpError, match="cubic GridSample"):
        GraphModule(build([node], feeds, {}, ["y"]))


def test_the_batch_of_a_grid_sample_is_found(build: Any, normal: Any) -> None:
    feeds = {"x": normal(1, 2, 5, 5), "grid": normal(1, 3, 3, 2)}
    node = helper.make_node("GridSample", ["x", "grid"], ["y"])
    module = GraphModule(build([node], feeds, {}, ["y"])).eval()
    many = {"x": normal(4, 2, 5, 5), "grid": normal(4, 3, 3, 2)}
    (y,) = module(*(torch.from_numpy(many[name]) for name in module.input_names))
    assert tuple(y.shape) == (4, 2, 3, 3)


@pytest.mark.parametrize("strides", [[1, 1], [2, 2]])
def test_col2im(compare: Any, normal: Any, strides: list[int]) -> None:
    count = 36 if strides == [1, 1] else 9
    sizes = {"size": np.array([5, 5]), "block": np.array([2, 2])}
    compare("Col2Im", {"x": normal(2, 12, count)}, sizes, pads=[1, 1, 1, 1], strides=strides)


@pytest.mark.parametrize(("op", "shift"), [("Asinh", 0.0), ("Acosh", 1.5), ("Atanh", 0.0)])
def test_inverse_hyperbolic(compare: Any, normal: Any, op: str, shift: float) -> None:
    compare(op, {"x": np.abs(normal(2, 5)).clip(0, 0.9) + np.float32(shift)})


@pytest.mark.parametrize("op", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_bitwise(compare: Any, op: str) -> None:
    compare(op, {"x": np.arange(6, dtype=np.int32), "y": np.array([3], np.int32)})


def test_bitwise_not(compare: Any) -> None:
    compare("BitwiseNot", {"x": np.arange(6, dtype=np.int32)})


def test_global_lp_pool(compare: Any, normal: Any) -> None:
    compare("GlobalLpPool", {"x": normal(2, 3, 4, 5)}, p=3)


@pytest.mark.parametrize(("time", "batch"), [(0, 1), (1, 0)])
def test_reverse_sequence(compare: Any, normal: Any, time: int, batch: int) -> None:
    lengths = {"lengths": np.array([2, 4, 1] if time == 0 else [2, 3, 1, 3])}
    feeds = {"x": normal(4, 3, 2), **lengths}
    compare("ReverseSequence", feeds, time_axis=time, batch_axis=batch)


def test_max_roi_pool(compare: Any, normal: Any) -> None:
    rois = np.array([[0, 0, 0, 9, 7], [1, 3, 2, 14, 11], [1, 4, 4, 4, 4]], np.float32)
    feeds = {"x": normal(2, 3, 8, 9), "rois": rois}
    compare("MaxRoiPool", feeds, pooled_shape=[3, 2], spatial_scale=0.6)


def test_the_batch_of_a_deform_conv_is_found(build: Any, normal: Any) -> None:
    feeds = {"x": normal(1, 2, 5, 5), "offset": normal(1, 8, 4, 4)}
    node = helper.make_node("DeformConv", ["x", "w", "offset"], ["y"])
    model = build([node], feeds, {"w": normal(3, 2, 2, 2)}, ["y"], opset=19)
    module = GraphModule(model).eval()
    assert module.fixed_reason is None
    assert list(module.parameter_names().values()) == ["w"]
    y = module(torch.from_numpy(normal(4, 2, 5, 5)), torch.from_numpy(normal(4, 8, 4, 4)))[0]
    assert tuple(y.shape) == (4, 3, 4, 4)


@pytest.mark.parametrize(("groups", "parts"), [(1, 1), (2, 2)])
def test_deform_conv(compare: Any, normal: Any, groups: int, parts: int) -> None:
    feeds = {"x": normal(2, 4, 7, 6), "w": normal(6, 4 // groups, 3, 2)}
    feeds |= {"offset": normal(2, parts * 12, 3, 6), "b": normal(6)}
    feeds["mask"] = normal(2, parts * 6, 3, 6)
    how = {"group": groups, "offset_group": parts, "strides": [2, 1], "pads": [1, 1, 0, 0]}
    compare("DeformConv", feeds, opset=19, tolerance=1e-4, **how)


@pytest.mark.parametrize("opset", [10, 16])
@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_align(compare: Any, normal: Any, opset: int, ratio: int) -> None:
    rois = np.array([[0, 0, 8, 7], [2.5, 1.2, 30, 21], [-3, -2, 6, 5], [4, 4, 4.2, 4.1]])
    feeds = {"x": normal(2, 3, 8, 9), "rois": rois.astype(np.float32)}
    feeds["images"] = np.array([0, 1, 1, 0])
    how = {"output_height": 3, "output_width": 2, "spatial_scale": 0.4}
    compare("RoiAlign", feeds, opset=opset, sampling_ratio=ratio, **how)


@pytest.mark.parametrize("centred", [0, 1])
def test_non_max_suppression(compare: Any, rng: np.random.Generator, centred: int) -> None:
    feeds = {"boxes": rng.random((2, 40, 4), np.float32)}
    feeds["scores"] = rng.random((2, 3, 40), np.float32)
    bounds = {"most": np.array([6]), "iou": np.array([0.3], np.float32)}
    bounds["least"] = np.array([0.2], np.float32)
    (found,) = compare("NonMaxSuppression", feeds, bounds, center_point_box=centred)
    assert len(found) > 12


def test_random_draws(build: Any) -> None:
    """ONNX Runtime draws other numbers: shares are compared with what they should be."""
    torch.manual_seed(0)
    x = np.log([[0.1, 0.6, 0.3]]).astype(np.float32)
    nodes = [
        helper.make_node("Multinomial", ["x"], ["drawn"], sample_size=4000, dtype=7),
        helper.make_node("Exp", ["x"], ["p"]),
        helper.make_node("Tile", ["p", "often"], ["many"]),
        helper.make_node("Bernoulli", ["many"], ["tossed"]),
    ]
    often = {"often": np.array([4000, 1])}
    module = GraphModule(build(nodes, {"x": x}, often, ["drawn", "tossed"])).eval()
    drawn, tossed = module(torch.from_numpy(x))
    assert drawn.dtype == torch.int64
    shares = torch.bincount(drawn[0], minlength=3) / 4000
    for found in (shares, tossed.mean(0)):
        np.testing.assert_allclose(found, [0.1, 0.6, 0.3], atol=0.03)
