"""The forms that constants, attributes and sizes come in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from acgraph.errors import PassError
from acgraph.ir import model_from_proto, onnx_io, proto_from_model, read_model, write_model
from acgraph.pruning.plan import Plan


def _old_forms(net: Any) -> Any:
    """Attributes that later opsets turned into inputs."""
    x = net.conv(net.input(2, 3, 8, 8), 3, 8)
    x = net.op("Clip", x, min=0.0, max=6.0)
    if net.opset < 12:
        x = net.op("Dropout", x, ratio=0.5)
    x = net.op("Pad", x, pads=[0, 2, 1, 1, 0, 2, 1, 1], mode="constant", value=0.0)
    x = net.op("Slice", x, starts=[2, 1], ends=[10, 9], axes=[1, 2])
    a, b = net.op("Split", x, outputs=2, axis=1, split=[4, 4])
    x = net.op("Concat", b, a, axis=1)
    s = net.op("ReduceMean", x, axes=[2, 3], keepdims=1)
    s = net.op("Squeeze", s, axes=[2, 3])
    s = net.op("Unsqueeze", net.op("Sigmoid", net.gemm(s, 8, 8)), axes=[2, 3])
    x = net.op("Mul", x, s)
    return net.proto(net.gemm(net.op("Flatten", net.op("GlobalMaxPool", x)), 8, 3))


@pytest.mark.parametrize("opset", [7, 8, 9, 10])
def test_attribute_forms_of_old_opsets(opset: int, make_net: Any, check_equivalence: Any) -> None:
    net = make_net(opset)
    if opset == 10:  # Slice takes inputs from here on
        x = net.conv(net.input(2, 3, 8, 8), 3, 8)
        x = net.op("Slice", x, net.ints(2), net.ints(100), net.ints(1))
        proto = net.proto(net.conv(net.op("Clip", x, min=-1.0), 6, 2))
    else:
        proto = _old_forms(net)
    assert check_equivalence(proto).rate > 1.5


@pytest.mark.parametrize("opset", [13, 18, 20])
def test_input_forms_of_new_opsets(opset: int, make_net: Any, check_equivalence: Any) -> None:
    net = make_net(opset)
    x = net.conv(net.input(2, 3, 8, 8), 3, 8)
    axes = (net.ints(2, 3),) if opset >= 18 else ()
    s = net.op("ReduceMean", x, *axes, **({} if axes else {"axes": [2, 3]}))
    s = net.op("Unsqueeze", net.op("Squeeze", s, net.ints(2, 3)), net.ints(2, 3))
    x = net.op("Mul", x, net.op("Sigmoid", s))
    pads = [net.ints(2, 2), "", net.ints(1)] if opset >= 18 else [net.ints(0, 2, 0, 0, 0, 2, 0, 0)]
    x = net.op("Pad", x, *pads)
    assert check_equivalence(net.proto(net.conv(x, 12, 2))).rate > 1.5


def test_dynamic_batch_and_image_size(make_net: Any, check_equivalence: Any) -> None:
    """Shape, Gather, Concat into a Reshape: what depends on the input still does after the cut."""
    net = make_net()
    x = net.conv(net.input("n", 3, "h", "w"), 3, 8)
    shape = net.op("Shape", x)
    n, c, h, w = (net.op("Gather", shape, net.ints(k)) for k in range(4))
    tokens = net.op("Concat", n, c, net.op("Mul", h, w), axis=0)
    y = net.op("Transpose", net.op("Reshape", x, tokens), perm=[0, 2, 1])
    y = net.op("MatMul", net.op("Relu", y), net.w(8, 8))
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1]), shape)
    sizes = ({"n": 1, "h": 8, "w": 8}, {"n": 3, "h": 6, "w": 10})
    found = check_equivalence(net.proto(net.conv(y, 8, 2)), sizes=sizes)
    assert found.rate > 1.7
    assert any(node.op_type == "Where" for node in found.after.graph.node)


def test_dynamic_heads(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.input("n", "t", 8)
    shape = net.op("Shape", x)
    n, t = (net.op("Gather", shape, net.ints(k)) for k in range(2))
    split = net.op("Concat", n, t, net.ints(4), net.ints(4), axis=0)
    q, k, v = (net.op("Reshape", net.op("MatMul", x, net.w(8, 16)), split) for _ in range(3))
    q, v = (net.op("Transpose", y, perm=[0, 2, 1, 3]) for y in (q, v))
    a = net.op("Softmax", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 3, 1])), axis=-1)
    y = net.op("Transpose", net.op("MatMul", a, v), perm=[0, 2, 1, 3])
    y = net.op("Reshape", y, net.op("Concat", n, t, net.ints(16), axis=0))
    sizes = ({"n": 1, "t": 5}, {"n": 2, "t": 9})
    assert check_equivalence(net.proto(net.op("MatMul", y, net.w(16, 8))), sizes=sizes).rate > 1.7


def test_a_second_cut_of_dynamic_sizes(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.conv(net.input("n", 3, "h", "w"), 3, 16)
    y = net.op("Reshape", net.op("Reshape", x, net.ints(0, 16, -1)), net.op("Shape", x))
    proto = net.proto(net.conv(y, 16, 2))
    sizes = ({"n": 1, "h": 8, "w": 8}, {"n": 3, "h": 6, "w": 10})
    first = check_equivalence(proto, sizes=sizes)
    second = check_equivalence(first.after, sizes=sizes)
    assert second.rate > 1.4


def test_constant_nodes_as_weights(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.input(1, 3, 8, 8)
    for i, o in ((3, 8), (8, 2)):
        tensor = numpy_helper.from_array(
            np.random.default_rng(o).standard_normal((o, i, 3, 3)).astype("f4")
        )
        x = net.op("Conv", x, net.op("Constant", value=tensor, name=f"w{o}"), pads=[1] * 4)
    found = check_equivalence(net.proto(x))
    assert [list(found.node(f"w{o}").attribute[0].t.dims) for o in (8, 2)] == [
        [4, 3, 3, 3],
        [2, 4, 3, 3],
    ]


def test_initializers_that_are_inputs(make_net: Any, check_equivalence: Any) -> None:
    net = make_net(8)
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    proto = net.proto(net.conv(x, 8, 2))
    plain = onnx.ModelProto()
    plain.CopyFrom(proto)
    plain.ir_version = 3
    for tensor in plain.graph.initializer:
        plain.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    found = check_equivalence(model_from_proto(plain))
    assert [i.name for i in found.after.graph.input] == ["x"]
    assert found.rate > 1.7


def test_one_weight_for_two_convolutions(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    w, b = net.w(8, 8, 3, 3), net.w(8)
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    for _ in range(2):
        x = net.op("Relu", net.op("Conv", x, w, b, pads=[1] * 4))
    found = check_equivalence(net.proto(net.conv(x, 8, 2)))
    # the output channels of the first use are the input channels of the second
    assert found.shape(w) == [4, 4, 3, 3]
    assert sum(t.name.startswith(w) for t in found.after.graph.initializer) == 1


def test_an_embedding_tied_with_the_head(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    table = net.w(20, 16)
    x = net.op("Gather", table, net.input(1, 5, name="ids", dtype=np.int64))
    x = net.op(
        "Add",
        x,
        net.op("MatMul", net.op("Relu", net.op("MatMul", x, net.w(16, 32))), net.w(32, 16)),
    )
    found = check_equivalence(net.proto(net.op("MatMul", x, net.op("Transpose", table))))
    assert found.shape(table) == [20, 8]
    assert found.rate > 2


def test_a_weight_that_something_else_reads(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    w = net.w(8, 3, 3, 3)
    x = net.op("Conv", net.input(1, 3, 8, 8), w, pads=[1] * 4)
    penalty = net.op("ReduceSum", net.op("Mul", w, w), keepdims=0)
    found = check_equivalence(net.proto(net.conv(x, 8, 2), penalty))
    assert found.shape(w)[0] == 4


def test_a_constant_that_an_output_is_computed_from(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    w = net.w(8, 3, 3, 3)
    x = net.op("Conv", net.input(1, 3, 8, 8), w, pads=[1] * 4)
    found = check_equivalence(net.proto(net.conv(x, 8, 2), net.op("Neg", w)))
    assert found.shape(w) == [8, 3, 3, 3]


def test_sparse_initializers_are_left_alone(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.op("Relu", net.gemm(net.input(2, 4), 4, 8))
    values = helper.make_tensor("s", 1, [3], [1.0, 2.0, 3.0])
    indices = helper.make_tensor("s_i", 7, [3], [0, 5, 20])
    dense = net.op("Constant", sparse_value=helper.make_sparse_tensor(values, indices, [8, 3]))
    proto = net.proto(net.op("MatMul", net.gemm(x, 8, 8), dense))
    found = check_equivalence(proto)
    assert found.rate > 1.3
    assert any(n.op_type == "Constant" and n.attribute[0].name == "sparse_value"
               for n in found.after.graph.node)  # fmt: skip


def test_branches_are_passed_through_whole(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 16))
    x = net.conv(x, 16, 4, name="before")
    made = [helper.make_tensor_value_info(f"{s}_y", 1, (1, 4, 8, 8)) for s in "ab"]
    sides = [
        helper.make_graph([helper.make_node(op, [x], [f"{s}_y"])], s, [], [y])
        for op, s, y in zip(("Relu", "Neg"), "ab", made, strict=True)
    ]
    flag = net.input(name="flag", dtype=np.bool_)
    y = net.op("If", flag, then_branch=sides[0], else_branch=sides[1], name="if")
    found = check_equivalence(net.proto(net.conv(y, 4, 2)))
    assert found.rate > 1.5
    assert found.node("if") == next(n for n in found.before.graph.node if n.name == "if")


@pytest.mark.parametrize("limit", [1 << 10, 1 << 40])
def test_models_above_the_protobuf_limit(
    limit: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_net: Any,
    check_equivalence: Any,
) -> None:
    """The limit of 2 GiB is lowered, so that weights go to a file beside the model."""
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 32))
    found = check_equivalence(net.proto(net.conv(x, 32, 8)))
    monkeypatch.setattr(onnx_io, "EXTERNAL_BYTES", limit)
    path = tmp_path / "m.onnx"
    write_model(model_from_proto(found.after), path)
    assert (tmp_path / "m.onnx.data").exists() == (limit < 1 << 20)
    again = check_equivalence(read_model(path))
    assert again.rate > 1.5


def test_external_data_is_read_and_cut(
    tmp_path: Path, make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 32))
    path = tmp_path / "m.onnx"
    onnx.save_model(
        net.proto(net.conv(x, 32, 8)), path, save_as_external_data=True, size_threshold=0
    )
    assert check_equivalence(read_model(path)).rate > 1.7


def test_what_is_not_cut_comes_back_as_it_was(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    found = check_equivalence(net.proto(net.conv(x, 8, 2)), plan=Plan())
    assert found.after.graph.node == found.before.graph.node
    assert found.after.graph.initializer == found.before.graph.initializer


def test_the_masked_model_has_the_same_nodes_in_the_same_order(
    make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.bn(net.conv(net.input(1, 3, 8, 8), 3, 8, name="a"), 8)
    x = net.op("Mul", x, net.w(8, 1, 1, name="gain"))
    found = check_equivalence(net.proto(net.conv(x, 8, 2)))
    assert found.masked.graph.node == found.before.graph.node
    values = {t.name: numpy_helper.to_array(t) for t in found.masked.graph.initializer}
    gone = ~values["c0"].reshape(8, -1).any(axis=1)
    assert gone.sum() == 4
    a, bn, gain, last = (n for n in found.masked.graph.node)
    for name in (a.input[1], bn.input[1], bn.input[2], gain.input[1]):
        assert not values[name][gone].any()
    assert not values[last.input[1]][:, gone].any()
    for name in bn.input[3:]:  # mean and variance stay
        assert values[name].all()


def test_a_plan_that_empties_an_axis_is_refused(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    proto = net.proto(net.conv(x, 8, 2))

    def everything(dependency: Any) -> Plan:
        return Plan(sets={f.name: np.ones(f.size, bool) for f in dependency.prunable()})

    with pytest.raises(PassError, match="would remove all positions of the axis"):
        check_equivalence(proto, plan=everything)


def test_columns_are_zeroed_in_place(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    w = net.w(2, 8, 3, 3, name="w")
    proto = net.proto(net.op("Conv", x, w, pads=[1] * 4))
    gone = np.random.default_rng(0).random((8, 3, 3)) < 0.5
    found = check_equivalence(proto, plan=Plan(columns={"w": gone}))
    value = next(numpy_helper.to_array(t) for t in found.after.graph.initializer if t.name == "w")
    assert np.array_equal(value.any(axis=0), ~gone)


def _half(net: Any, dtype: Any) -> Any:
    w = [net.const((np.random.default_rng(k).standard_normal(s) / 4).astype(dtype))
         for k, s in enumerate([(6, 8), (8, 3)])]  # fmt: skip
    x = net.op("Abs", net.op("MatMul", net.input(4, 6, dtype=dtype), w[0]))
    m = net.op("ReduceMean", x, axes=[1])
    return net.op("MatMul", net.op("Mul", x, m), w[1])


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats(dtype: Any, make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    y = _half(net, dtype)
    net_proto: Callable[..., Any] = net.proto
    proto = net_proto(net.op("Cast", y, to=1))
    assert check_equivalence(proto, tolerance=1e-4 if dtype == np.float64 else 5e-3).rate > 1.4


def test_proto_round_trip_of_a_shrunk_model(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    found = check_equivalence(net.proto(net.conv(x, 8, 2)))
    assert proto_from_model(model_from_proto(found.after)).graph.node == found.after.graph.node


def test_a_cut_constant_spread_over_sizes_of_something_cut(
    make_net: Any, check_equivalence: Any
) -> None:
    """It is known, and computed from the shape of y: yet what stands for it is cut, too."""
    net = make_net()
    x = net.input(2, 3, 8, 8)
    y = net.conv(x, 3, 8)
    shape = net.op("Shape", y)
    h, w = (net.op("Gather", shape, net.ints(k)) for k in (2, 3))
    spread = net.op("Expand", net.w(1, 6, 1, 1), net.op("Concat", net.ints(1, 6), h, w, axis=0))
    z = net.op("Mul", net.conv(x, 3, 6), spread)
    out = net.op("Add", net.conv(y, 8, 2), net.conv(z, 6, 2))
    assert check_equivalence(net.proto(out)).rate > 1.0
