"""Sizes that a file leaves open: stated, guessed so that the graph can run, or unknown."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from acgraph.analysis.cost import model_cost
from acgraph.config_fields import parse_shapes
from acgraph.errors import UsageError
from acgraph.ir import Model, clone_model, infer_facts, input_sizes, model_from_proto, resolve_sizes
from acgraph.ir.sizes import declared_inputs, open_axes, resized, with_batch


@pytest.fixture
def net(make_net: type) -> Any:
    return make_net()


def built(net: Any, *outputs: str) -> Model:
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(net.nodes, "g", net.inputs, results, net.weights)
    opset = [helper.make_opsetid("", net.opset)]
    return model_from_proto(helper.make_model(graph, opset_imports=opset, ir_version=8))


def fully_convolutional(net: Any) -> Model:
    x = net.conv(net.input("n", 3, "h", "w"), 3, 4)
    return built(net, net.conv(x, 4, 4, strides=[2, 2]))


def channels_last(net: Any) -> Model:
    x = net.op("Transpose", net.input("n", "h", "w", "c"), perm=[0, 3, 1, 2])
    return built(net, net.conv(x, 3, 4))


def colours_last(net: Any) -> Model:
    return built(net, net.op("GlobalAveragePool", net.input("n", "h", "w", 3)))


def many_bands(net: Any) -> Model:
    return built(net, net.conv(net.input("n", "c", "h", "w"), 5, 4))


def text_line(net: Any) -> Model:
    """Only a height of 48 leaves one row to squeeze, as in recognisers of printed text."""
    x = net.op("Conv", net.input("n", 3, "h", "w"), net.w(4, 3, 48, 3))
    return built(net, net.op("Squeeze", x, net.ints(2)))


def table_of_positions(net: Any) -> Model:
    x = net.conv(net.input("n", 3, "h", "w"), 3, 4, strides=[2, 2])
    return built(net, net.op("Add", x, net.w(1, 4, 8, 8)))


def flattened(net: Any) -> Model:
    x = net.op("Flatten", net.conv(net.input("n", 1, "h", "w"), 1, 4))
    return built(net, net.gemm(x, 4 * 28 * 28, 3))


def reshaped(net: Any) -> Model:
    x = net.conv(net.input("n", 3, "h", "w"), 3, 4)
    return built(net, net.op("Reshape", x, net.ints(1, 4, 1024)))


def waveform(net: Any) -> Model:
    x = net.op("Unsqueeze", net.input("batch", "samples"), net.ints(1))
    return built(net, net.op("Conv", x, net.w(4, 1, 512), strides=[128]))


def features(net: Any) -> Model:
    return built(net, net.gemm(net.input("n", None), 7, 3))


def state_beside(net: Any) -> Model:
    x, h = net.input("batch", "length", 8), net.input(2, "batch", 4, name="h")
    return built(net, net.op("Relu", x), net.op("Relu", h))


def tokens(net: Any) -> Model:
    ids = net.input("batch", "sequence", name="ids", dtype=np.int64)
    return built(net, net.op("Gather", net.w(30, 4), ids))


def reflected(net: Any) -> Model:
    x = net.op("Unsqueeze", net.input("batch", "samples"), net.ints(1))
    x = net.op("Pad", x, net.ints(0, 0, 96, 0, 0, 96), mode="reflect")
    return built(net, net.op("Conv", x, net.w(4, 1, 16)))


def one_window(net: Any) -> Model:
    """Only 512 samples leave one position to squeeze."""
    x = net.op("Unsqueeze", net.input("batch", "samples"), net.ints(1))
    x = net.op("Squeeze", net.op("Conv", x, net.w(4, 1, 512), strides=[128]), net.ints(2))
    return built(net, net.gemm(x, 4, 2))


def anonymous_state(net: Any) -> Model:
    x, h = net.input(None, 32), net.input(2, None, 4, name="h")
    return built(net, net.op("Relu", x), net.op("Relu", h))


@pytest.mark.parametrize(
    ("make", "shapes", "assumed"),
    [
        (fully_convolutional, {"x": (1, 3, 224, 224)}, ("x",)),
        (channels_last, {"x": (1, 224, 224, 3)}, ("x",)),
        (colours_last, {"x": (1, 224, 224, 3)}, ("x",)),
        (many_bands, {"x": (1, 5, 224, 224)}, ("x",)),
        (text_line, {"x": (1, 3, 48, 320)}, ("x",)),
        (table_of_positions, {"x": (1, 3, 16, 16)}, ("x",)),
        (flattened, {"x": (1, 1, 28, 28)}, ("x",)),
        (reshaped, {"x": (1, 3, 32, 32)}, ("x",)),
        (waveform, {"x": (1, 512)}, ("x",)),
        (reflected, {"x": (1, 512)}, ("x",)),
        (one_window, {"x": (1, 512)}, ("x",)),
        (features, {"x": (1, 7)}, ("x",)),
        (anonymous_state, {"x": (1, 32), "h": (2, 1, 4)}, ()),
        (state_beside, {"x": (1, 16, 8), "h": (2, 1, 4)}, ("x",)),
        (tokens, {"ids": (1, 16)}, ("ids",)),
    ],
)
def test_the_likeliest_sizes_that_the_graph_can_run_at(
    net: Any, make: Any, shapes: dict[str, tuple[int, ...]], assumed: tuple[str, ...]
) -> None:
    model = make(net)
    sizes = resolve_sizes(model)
    assert (sizes.shapes, sizes.assumed, sizes.contradiction) == (shapes, assumed, "")
    assert not infer_facts(model).unknown
    assert input_sizes(clone_model(model)) is sizes
    for name in assumed:
        text = "x".join(map(str, shapes[name]))
        assert sizes.remark() == (
            f"input '{name}' has unknown sizes; assuming {text}, see --input-shape"
        )


def test_constants_that_bind_the_batch(net: Any) -> None:
    x = net.op("Reshape", net.input("n", 3, 4), net.ints(1, -1))
    sizes = resolve_sizes(built(net, net.gemm(x, 12, 5)))
    assert (sizes.shapes, sizes.fixed_batch, sizes.remark()) == ({"x": (1, 3, 4)}, 1, "")
    free = type(net)()
    x = free.op("Reshape", free.input("n", 3, 4), free.ints(-1, 12))
    assert resolve_sizes(built(free, free.gemm(x, 12, 5))).fixed_batch is None


def test_a_batch_alone_needs_no_word(net: Any) -> None:
    model = built(net, net.conv(net.input("n", 3, 8, 8), 3, 4))
    sizes = resolve_sizes(model)
    assert (dict(sizes.shapes), sizes.remark()) == ({"x": (1, 3, 8, 8)}, "")


def test_what_fits_nothing_is_said_with_the_node(net: Any) -> None:
    x = net.conv(net.input("n", 3, "h", "w"), 3, 4)
    model = built(net, net.op("Add", x, net.w(1, 4, 7, 11), name="table"))
    remark = resolve_sizes(model).remark()
    assert "no common ones fit (node 'table' (Add): " in remark
    assert "assuming 1x3x224x224" in remark
    sizes = resolve_sizes(model, {"x": (1, 3, 7, 11)})
    assert (sizes.shapes["x"], sizes.remark()) == ((1, 3, 7, 11), "")


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"z": (1, 3)}, r"no input is named 'z'; the inputs are x \[n, 3, h, w\]"),
        ({"x": (1, 3, 8)}, r"x:1,3,8 does not fit; the inputs are x \[n, 3, h, w\]"),
        ({"x": (1, 4, 8, 8)}, "x:1,4,8,8 does not fit"),
    ],
)
def test_a_shape_that_contradicts_the_file_is_refused(
    net: Any, stated: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_sizes(fully_convolutional(net), stated)


def test_one_input_needs_no_name_and_a_named_size_is_one_number(net: Any) -> None:
    assert resolve_sizes(fully_convolutional(net), {"": (2, 3, 8, 9)}).shapes == {"x": (2, 3, 8, 9)}
    two = type(net)()
    x, m = two.input("n", "length", 4), two.input("n", "length", name="m")
    model = built(two, two.op("Relu", x), two.op("Relu", m))
    assert resolve_sizes(model, {"x": (1, 5, 4)}).shapes == {"x": (1, 5, 4), "m": (1, 5)}
    with pytest.raises(UsageError, match="'length' is stated as 5 and as 6"):
        resolve_sizes(model, {"x": (1, 5, 4), "m": (1, 6)})
    with pytest.raises(UsageError, match="a shape names no input"):
        resolve_sizes(model, {"": (1, 5, 4)})


def test_a_kernel_that_does_not_fit_leaves_macs_unknown_not_negative(net: Any) -> None:
    model = waveform(net)
    resolve_sizes(model, {"x": (1, 16)})
    cost = model_cost(model)
    assert (cost.macs, cost.unknown) == (0, ("Conv_1",))
    facts = infer_facts(model)
    assert facts.unknown == ["Conv_1:0"]
    assert list(map(str, facts.failures)) == [
        "node 'Conv_1' (Conv): its kernel does not fit into 1x1x16"
    ]


def test_sizes_at_which_the_graph_cannot_run_do_not_make_others_dynamic(net: Any) -> None:
    """The height is left open and can only be 48: what follows from it is fixed."""
    x = net.input("n", 3, "h", "w")
    shape = net.op("Shape", x)
    height = net.op("Gather", shape, net.ints(2), name="height")
    width = net.op("Gather", shape, net.ints(3), name="width")
    y = net.op("Squeeze", net.op("Conv", x, net.w(4, 3, 48, 3)), net.ints(2))
    model = built(net, y, height, width)
    resolve_sizes(model)
    dynamic = infer_facts(model).dynamic
    assert "width:0" in dynamic
    assert "height:0" not in dynamic


def test_other_sizes_and_batches(net: Any) -> None:
    inputs = declared_inputs(state_beside(net))
    shapes = {"x": (1, 16, 8), "h": (2, 1, 4)}
    assert with_batch(inputs, shapes, 3) == {"x": (3, 16, 8), "h": (2, 3, 4)}
    assert resized(inputs, shapes, {"length": 5}) == {"x": (1, 5, 8), "h": (2, 1, 4)}
    found = open_axes(inputs, shapes)
    assert {name: (axis.size, axis.is_batch) for name, axis in found.items()} == {
        "batch": (1, True),
        "length": (16, False),
    }


def test_parsing() -> None:
    assert parse_shapes(["x:1,3,48,320", "a:0:2,3"]) == {"x": (1, 3, 48, 320), "a:0": (2, 3)}
    assert parse_shapes(["1,16"]) == {"": (1, 16)}
    assert parse_shapes(["a=b=2x3", "x:0=1"]) == {"a=b": (2, 3), "x:0": (1,)}
    assert parse_shapes(None) == {}
    for text in ("x", "=1x2", "x=", "x=0x1", "x=1.5", "x:1,0", "x:1,,2", ":1,2", "x:-1,3"):
        with pytest.raises(UsageError, match="is not a shape"):
            parse_shapes([text])
    with pytest.raises(UsageError, match="two shapes are given for 'x'"):
        parse_shapes(["x:1,2", "x=1x3"])


@pytest.mark.parametrize("mark", ["?", "-1", "None", "*"])
def test_what_exporters_write_for_an_unknown_size_is_no_name(net: Any, mark: str) -> None:
    """PaddlePaddle calls height and width of an image ``?``, which does not make them equal."""
    model = built(net, net.conv(net.input(1, 3, mark, mark), 3, 4))
    (entry,) = declared_inputs(model)
    assert entry.shape == (1, 3, None, None)
    resolve_sizes(model, {"x": (1, 3, 48, 192)})
    assert input_sizes(model).shapes["x"] == (1, 3, 48, 192)
