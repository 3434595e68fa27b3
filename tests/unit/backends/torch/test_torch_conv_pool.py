import subprocess
import sys

import numpy as np
import pytest

CONV = {
    "plain": ((2, 4, 9, 8), (6, 4, 3, 3), {}),
    "pads": ((2, 4, 9, 8), (6, 4, 3, 3), {"pads": [1, 2, 1, 2]}),
    "asymmetric": ((2, 4, 9, 8), (6, 4, 3, 3), {"pads": [0, 1, 2, 0], "strides": [2, 1]}),
    "dilated": ((1, 4, 9, 8), (6, 4, 3, 2), {"dilations": [2, 3]}),
    "grouped": ((2, 4, 9, 8), (6, 2, 3, 3), {"group": 2}),
    "depthwise": ((2, 4, 9, 8), (8, 1, 3, 3), {"group": 4, "strides": [2, 2]}),
    "same upper": ((1, 3, 9, 8), (4, 3, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    "same lower": ((1, 3, 9, 8), (4, 3, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "valid": ((1, 3, 9, 8), (4, 3, 4, 3), {"auto_pad": "VALID"}),
    "1d": ((2, 3, 11), (4, 3, 3), {"pads": [2, 1], "strides": [2]}),
    "strided points": ((2, 3, 9, 8), (5, 3, 1, 1), {"strides": [2, 3]}),
    "strided padded points": (
        (2, 3, 9, 8),
        (5, 3, 1, 1),
        {"strides": [2, 2], "pads": [1, 2, 1, 2]},
    ),
    "strided grouped points": ((2, 6, 9, 8), (4, 3, 1, 1), {"strides": [2, 2], "group": 2}),
    "3d": ((1, 2, 5, 6, 7), (4, 2, 3, 3, 3), {"pads": [1, 1, 1, 1, 1, 1], "strides": [1, 2, 2]}),
}


@pytest.mark.parametrize("case", CONV)
@pytest.mark.parametrize("biased", [True, False])
def test_conv(compare, normal, case, biased):
    x, w, attributes = CONV[case]
    constants = {"w": normal(*w)} | ({"b": normal(w[0])} if biased else {})
    compare("Conv", {"x": normal(*x)}, constants, **attributes)


#: Trains a convolution of strided points in the layout in which torch's own gradient crashes.
POINTS = """
import onnx, torch
from onnx import TensorProto, helper
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.ir import model_from_proto

values = torch.randn(48, 3, 1, 1)
weight = helper.make_tensor("w", TensorProto.FLOAT, (48, 3, 1, 1), values.flatten().tolist())
graph = helper.make_graph(
    [helper.make_node("Conv", ["x", "w"], ["y"], "conv", strides=[2, 2])], "points",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 112, 112])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 48, 56, 56])], [weight],
)
opset = helper.make_opsetid("", 17)
proto = helper.make_model(graph, opset_imports=[opset], ir_version=8)
module = GraphModule(model_from_proto(proto, "points")).to(memory_format=torch.channels_last)
x = torch.randn(16, 3, 112, 112).to(memory_format=torch.channels_last)
for _ in range(3):
    module(x)[0].square().mean().backward()
(found,) = [p.grad for p in module.parameters() if p.grad is not None]
expected = values.requires_grad_()
torch.nn.functional.conv2d(x.contiguous(), expected, None, 2).square().mean().backward()
assert torch.allclose(found, 3 * expected.grad, rtol=1e-4), (found - 3 * expected.grad).abs().max()
"""


def test_points_with_a_stride_are_trained_in_channels_last():
    ended = subprocess.run([sys.executable, "-c", POINTS], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]


TRANSPOSE = {
    "plain": ((2, 4, 5, 6), (4, 3, 3, 3), {}),
    "strided": ((2, 4, 5, 6), (4, 3, 3, 2), {"strides": [2, 3], "pads": [1, 0, 1, 0]}),
    "asymmetric": ((2, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "pads": [0, 1, 2, 0]}),
    "output padding": ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "output_padding": [1, 1]}),
    "output shape": ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "output_shape": [10, 12]}),
    "odd output shape": ((1, 4, 5, 6), (4, 3, 4, 4), {"output_shape": [7, 8]}),
    "same upper": ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "same lower": ((1, 4, 5, 6), (4, 3, 4, 4), {"strides": [3, 3], "auto_pad": "SAME_LOWER"}),
    "grouped": ((1, 4, 5, 6), (4, 3, 3, 3), {"group": 2, "dilations": [2, 1]}),
    "1d": ((1, 4, 5), (4, 3, 3), {"strides": [2]}),
}


@pytest.mark.parametrize("case", TRANSPOSE)
def test_conv_transpose(compare, normal, case):
    x, w, attributes = TRANSPOSE[case]
    compare("ConvTranspose", {"x": normal(*x)}, {"w": normal(*w)}, **attributes)


POOL = {
    "plain": ((2, 3, 9, 8), {"kernel_shape": [2, 3]}),
    "strided": ((2, 3, 9, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "ceil": ((1, 3, 9, 8), {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1}),
    "ceil padded": (
        (1, 3, 10, 7),
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    ),
    "ceil drops": (
        (1, 2, 6, 6),
        {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    ),
    "asymmetric": ((1, 3, 9, 8), {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0]}),
    "asymmetric ceil": (
        (1, 3, 9, 8),
        {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1], "strides": [2, 2], "ceil_mode": 1},
    ),
    "same upper": ((1, 3, 9, 8), {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER"}),
    "same lower": (
        (1, 3, 9, 8),
        {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER", "strides": [2, 2]},
    ),
    "1d": ((1, 3, 9), {"kernel_shape": [3], "strides": [2]}),
    "3d": ((1, 2, 5, 6, 7), {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]}),
}


@pytest.mark.parametrize("case", POOL)
def test_max_pool(compare, normal, case):
    x, attributes = POOL[case]
    compare("MaxPool", {"x": normal(*x)}, **attributes)


def test_max_pool_dilated(compare, normal):
    x = {"x": normal(1, 2, 9, 9)}
    compare("MaxPool", x, kernel_shape=[3, 2], dilations=[2, 3], ceil_mode=1, strides=[2, 2])


@pytest.mark.parametrize("case", POOL)
@pytest.mark.parametrize("include", [0, 1])
def test_average_pool(compare, normal, case, include):
    x, attributes = POOL[case]
    compare("AveragePool", {"x": normal(*x)}, count_include_pad=include, **attributes)


def test_average_pool_dilated(compare, normal):
    x = {"x": normal(2, 2, 9, 9)}
    compare("AveragePool", x, kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 1, 1, 1])


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 4)])
def test_global_pool(compare, normal, op, shape):
    compare(op, {"x": normal(*shape)})


@pytest.mark.parametrize("p", [1, 2])
def test_lp_pool(compare, normal, p):
    compare("LpPool", {"x": normal(1, 2, 6, 7)}, kernel_shape=[2, 3], pads=[1, 0, 0, 1], p=p)


LINEAR = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]


@pytest.mark.parametrize("coordinates", LINEAR)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("sizes", [[1, 2, 9, 13], [1, 2, 4, 3], [1, 2, 6, 1]])
def test_resize_interpolates(compare, normal, coordinates, mode, sizes):
    constants = {"sizes": np.array(sizes)}
    compare(
        "Resize",
        {"x": normal(1, 2, 6, 7)},
        constants,
        order=["x", "", "", "sizes"],
        mode=mode,
        coordinate_transformation_mode=coordinates,
    )


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [[1, 1, 2, 2], [1, 1, 1.7, 0.6], [1, 1, 0.5, 3]])
@pytest.mark.parametrize("opset", [11, 13, 20])
def test_resize_scales(compare, normal, mode, scales, opset):
    constants = {"roi": np.zeros(0, np.float32), "scales": np.array(scales, np.float32)}
    compare("Resize", {"x": normal(1, 2, 6, 7)}, constants, opset=opset, mode=mode)


@pytest.mark.parametrize("nearest", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
def test_resize_nearest(compare, normal, nearest, coordinates):
    compare(
        "Resize",
        {"x": normal(1, 2, 6, 7)},
        {"sizes": np.array([1, 2, 9, 4])},
        order=["x", "", "", "sizes"],
        nearest_mode=nearest,
        coordinate_transformation_mode=coordinates,
    )


def test_resize_crops(compare, normal):
    constants = {
        "roi": np.array([0, 0, 0.2, -0.1, 1, 1, 0.7, 1.2], np.float32),
        "sizes": np.array([1, 1, 5, 8]),
    }
    compare(
        "Resize",
        {"x": normal(1, 1, 6, 7)},
        constants,
        order=["x", "roi", "", "sizes"],
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=3.0,
    )


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("exclude", [0, 1])
def test_resize_antialiases(compare, normal, mode, exclude):
    compare(
        "Resize",
        {"x": normal(1, 2, 12, 14)},
        {"scales": np.array([1, 1, 0.5, 0.35], np.float32)},
        order=["x", "", "scales"],
        mode=mode,
        antialias=1,
        exclude_outside=exclude,
        tolerance=1e-4,
    )


def test_resize_cubic_excludes_outside(compare, normal):
    compare(
        "Resize",
        {"x": normal(1, 2, 6, 7)},
        {"scales": np.array([1, 1, 1.5, 2], np.float32)},
        order=["x", "", "scales"],
        mode="cubic",
        exclude_outside=1,
        cubic_coeff_a=-0.5,
    )


def test_resize_named_axes(compare, normal):
    compare(
        "Resize",
        {"x": normal(1, 2, 6, 7)},
        {"sizes": np.array([9, 10])},
        order=["x", "", "", "sizes"],
        axes=[2, 3],
        mode="linear",
    )


def test_upsample(compare, normal):
    scales = {"scales": np.array([1, 1, 2, 3], np.float32)}
    compare("Upsample", {"x": normal(1, 2, 3, 4)}, scales, opset=9)
