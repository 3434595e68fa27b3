"""Operators of ONNX Runtime: what is read for each computes the same, and is cut like it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from acgraph.analysis.dependency import analyse
from acgraph.ir import model_from_proto, proto_from_model, read_model
from tests.conftest import random_feeds, run_ort

Build = Callable[[Any], str]
CASES: dict[str, tuple[int, Build]] = {}


def case(opset: int = 17) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        CASES[f"{build.__name__}_{opset}"] = (opset, build)
        return build

    return register


def _ms(net: Any, op: str, *inputs: str, **attrs: Any) -> Any:
    return net.op(op, *inputs, domain="com.microsoft", **attrs)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("Relu", []),
        ("Tanh", []),
        ("Sigmoid", []),
        ("LeakyRelu", [0.3]),
        ("Clip", [0.0, 0.5]),
        ("HardSigmoid", [0.3, 0.4]),
    ],
)
def test_fused_conv(name: str, params: list[float], make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.input(1, 3, 8, 8)
    more = {"activation_params": params} if params else {}
    y = _ms(net, "FusedConv", x, net.w(8, 3, 3, 3), net.w(8), activation=name, pads=[1] * 4, **more)
    y = _ms(net, "FusedConv", y, net.w(8, 8, 3, 3), net.w(8), y, activation=name, pads=[1] * 4,
            **more)  # fmt: skip
    proto = net.proto(_ms(net, "FusedConv", y, net.w(2, 8, 1, 1), activation="Relu"))
    assert _same(proto) == ["Conv", name, "Conv", "Add", name, "Conv", "Relu"]
    _output(proto, 1, 2, 8, 8)
    assert check_equivalence(proto).rate > 2


def _output(proto: onnx.ModelProto, *shape: int) -> onnx.ModelProto:
    y = proto.graph.output[0]
    y.CopyFrom(helper.make_tensor_value_info(y.name, 1, shape))
    return proto


def _same(proto: onnx.ModelProto) -> list[str]:
    """See that what is read of a file computes the same; return its operators."""
    kept = onnx.ModelProto()
    kept.CopyFrom(proto)
    for y in kept.graph.output:
        y.type.tensor_type.ClearField("shape")
    del kept.graph.value_info[:]  # ONNX Runtime's optimiser writes none
    model = model_from_proto(kept)
    read = proto_from_model(model)
    assert not [node.op_type for node in read.graph.node if node.domain]
    assert "ONNX Runtime fuses these again" in model.remarks[0]
    feeds = random_feeds(proto, {"n": 2, "t": 5})
    for mine, theirs in zip(run_ort(read, feeds), run_ort(proto, feeds), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=2e-5)
    return [node.op_type for node in read.graph.node]


@case()
def fused_gemm(net: Any) -> str:
    x = _ms(net, "FusedGemm", net.input(2, 6), net.w(8, 6), net.w(8), transB=1, activation="Relu")
    return str(
        _ms(net, "FusedGemm", x, net.w(8, 4), net.w(4), activation="LeakyRelu",
            activation_alpha=0.2, alpha=0.5)
    )  # fmt: skip


@case()
def fused_matmul(net: Any) -> str:
    x = net.input("n", 5, 8)
    a = _ms(net, "FusedMatMul", x, net.w(6, 8), transB=1, alpha=0.25)
    b = net.op("Transpose", net.op("MatMul", x, net.w(8, 6)), perm=[0, 2, 1])
    return str(_ms(net, "FusedMatMul", b, a, transA=1, transB=1))


@case()
def fused_matmul_of_derived_rank(net: Any) -> str:
    """Nothing is declared: the rank follows from what was split, squeezed, gathered, reduced."""
    x = net.op("Reshape", net.op("MatMul", net.input(2, 3, 8), net.w(8, 8)), net.ints(2, 3, 2, 4))
    a, _ = net.op("Split", x, outputs=2, axis=2)
    a = net.op("Squeeze", a, net.ints(2))
    size = net.op("Clip", net.op("ReduceL2", a, axes=[-1]), net.const(np.float32(1)))
    a = net.op("Div", a, net.op("Expand", size, net.op("Shape", a)))
    b = net.op("Gather", x, net.const(np.int64(1)), axis=2)
    b = net.op(
        "Add", b, net.op("Unsqueeze", net.op("ReduceMean", b, axes=[2], keepdims=0), net.ints(2))
    )
    return str(_ms(net, "FusedMatMul", a, b, transB=1))


@case()
def fused_matmul_batches(net: Any) -> str:
    x = net.input(3, 5, 4)  # [3, 5, 4] read as [5, 3, 4]
    return str(_ms(net, "FusedMatMul", x, net.w(5, 4, 2), transBatchA=1))


@case(17)
def gelu(net: Any) -> str:
    return str(_ms(net, "Gelu", net.input(2, 8)))


@case(20)
def gelu_standard(net: Any) -> str:
    return str(_ms(net, "Gelu", net.input(2, 8)))


@case()
def bias_gelu(net: Any) -> str:
    return str(_ms(net, "BiasGelu", net.input(2, 8), net.w(8)))


@case()
def fast_gelu(net: Any) -> str:
    return str(_ms(net, "FastGelu", _ms(net, "FastGelu", net.input(2, 8)), net.w(8)))


@case(20)
def fast_gelu_standard(net: Any) -> str:
    return str(_ms(net, "FastGelu", net.input(2, 8), net.w(8)))


@case()
def quick_gelu(net: Any) -> str:
    return str(_ms(net, "QuickGelu", net.input(2, 8), alpha=1.5))


@case(13)
def layer_norm(net: Any) -> str:
    x = net.op("Add", net.input("n", 3, 8), net.w(8))
    x = net.op("LayerNormalization", x, net.positive(8), net.w(8), epsilon=1e-3)
    return str(net.op("LayerNormalization", x, net.positive(3, 8), axis=1))


@case(13)
@case(17)
def skip_layer_norm(net: Any) -> str:
    x = net.input("n", 3, 8)
    y, _, _, total = _ms(
        net, "SkipLayerNormalization", x, net.op("Relu", x), net.positive(8), net.w(8), net.w(8),
        outputs=4, epsilon=1e-3,
    )  # fmt: skip
    return str(net.op("Sub", y, total))


@case(13)
@case(23)
def simplified_layer_norm(net: Any) -> str:
    x = net.input("n", 3, 8)
    y, _, _, total = _ms(
        net, "SkipSimplifiedLayerNormalization", x, net.op("Relu", x), net.positive(8), net.w(8),
        outputs=4,
    )  # fmt: skip
    y = net.op("SimplifiedLayerNormalization", y, net.positive(8), axis=-1, epsilon=1e-4)
    return str(net.op("Sub", y, total))


def _ids(net: Any, name: str) -> str:
    return str(net.input(2, 4, name=name, dtype=np.int32))


@case()
def embeddings(net: Any) -> str:
    y, _, _ = _ms(
        net, "EmbedLayerNormalization", _ids(net, "ids"), _ids(net, "kinds"), net.w(9, 8),
        net.w(6, 8), net.w(4, 8), net.positive(8), net.w(8), outputs=3, epsilon=1e-5,
    )  # fmt: skip
    return str(y)


@case()
def embeddings_and_attention(net: Any) -> str:
    """As in a BERT that was optimised: the mask becomes lengths."""
    mask = net.op("Cast", net.op("Less", _ids(net, "kinds"), net.const(np.int32(2))), to=6)
    y, lengths, _ = _ms(
        net, "EmbedLayerNormalization", _ids(net, "ids"), "", net.w(9, 8), net.w(6, 8), "",
        net.positive(8), net.w(8), mask, outputs=3,
    )  # fmt: skip
    return str(_ms(net, "Attention", y, net.w(8, 24), net.w(24), lengths, num_heads=2))


@case()
def attention_with_a_mask(net: Any) -> str:
    x = net.input(2, 4, 6)
    mask = net.op("Cast", net.op("Less", _ids(net, "m"), net.const(np.int32(2))), to=6)
    extra = net.w(1, 2, 4, 4)
    return str(
        _ms(net, "Attention", x, net.w(6, 20), net.w(20), mask, "", extra, num_heads=2,
            qkv_hidden_sizes=[6, 6, 8], scale=0.3)
    )  # fmt: skip


@case()
def attention_looking_back(net: Any) -> str:
    x = net.input("n", "t", 6)
    return str(_ms(net, "Attention", x, net.w(6, 24), net.w(24), num_heads=4, unidirectional=1))


@case()
def multi_head_attention(net: Any) -> str:
    x, z = net.input(2, 4, 8), net.input(2, 3, 8, name="z")
    mask = net.op("Cast", net.op("Less", net.input(2, 3, name="m"), net.const(np.float32(1))), to=6)
    q = net.op("MatMul", x, net.w(8, 8))
    k, v = (net.op("MatMul", z, net.w(8, 8)) for _ in range(2))
    return str(_ms(net, "MultiHeadAttention", q, k, v, net.w(24), mask, num_heads=2))


@pytest.mark.parametrize("name", CASES)
def test_what_is_read_computes_the_same(name: str, make_net: Any) -> None:
    opset, build = CASES[name]
    net = make_net(opset)
    _same(net.proto(build(net)))


def test_heads_and_hidden_units_of_an_optimised_encoder_are_cut(
    make_net: Any, check_equivalence: Any
) -> None:
    net = make_net()
    x = net.input(2, 4, 8)
    y = _ms(net, "Attention", x, net.w(8, 48), net.w(48), num_heads=4, name="att")
    y = net.op("Add", net.op("MatMul", y, net.w(16, 8)), net.w(8))
    y, *_ = _ms(net, "SkipLayerNormalization", x, y, net.positive(8), net.w(8), outputs=2)
    z = _ms(net, "BiasGelu", net.op("MatMul", y, net.w(8, 32)), net.w(32))
    proto = _output(net.proto(net.op("MatMul", z, net.w(32, 8))), 2, 4, 8)
    found = check_equivalence(proto)
    assert found.rate > 1.8
    sizes = sorted(family.size for family in found.dependency.prunable())
    assert 4 in sizes  # whole heads
    assert 32 in sizes


def test_what_has_no_standard_form_is_fenced_alone_and_kept(make_net: Any) -> None:
    """Channels are laid out in blocks of 8: what lies before and behind is cut."""
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 16, 8, 8), 16, 16))
    x = net.op("ReorderInput", x, domain="com.microsoft.nchwc", name="in")
    more = {"activation": "Relu", "domain": "com.microsoft.nchwc"}
    x = net.op("Conv", x, net.w(24, 16, 3, 3), pads=[1] * 4, name="c", **more)
    x = net.op("ReorderOutput", x, domain="com.microsoft.nchwc", channels=20, name="out")
    x = net.op("Reshape", x, net.ints(1, 20, 64))
    x = net.op("Add", net.op("Transpose", x, perm=[0, 2, 1]), net.w(1, 64, 20))
    x = net.op("Relu", net.op("MatMul", x, net.w(20, 32)))
    graph = analyse(model_from_proto(net.proto(net.op("MatMul", x, net.w(32, 2)))))
    assert [family.size for family in graph.prunable()] == [32]
    reasons = {fence.location.node: fence.message for fence in graph.fences}
    assert set(reasons) == {"in", "c"}
    assert all("uses a data layout for one kind" in reason for reason in reasons.values())
    assert graph.facts.shapes["out:0"] == (1, 20, 8, 8)


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        ("MatMulNBits", "the values are quantised"),
        ("GroupQueryAttention", "the attention heads inside the operator"),
        ("NhwcConv", "uses a data layout for one kind of machine"),
        ("SparseToDenseMatMul", "the operator is not understood"),
    ],
)
def test_other_operators_of_onnx_runtime_say_why(op: str, reason: str, make_net: Any) -> None:
    net = make_net()
    x = net.op("Relu", net.op("MatMul", net.input(2, 4), net.w(4, 8)))
    proto = net.proto(_ms(net, op, x, net.w(8, 8), name="odd"))
    fences = {f.location.node: f.message for f in analyse(model_from_proto(proto)).fences}
    assert reason in fences["odd"]


def test_a_file_that_onnx_runtime_optimised_is_read(make_net: Any, tmp_path: Any) -> None:
    """LayerNormalization at opset 13 is ONNX Runtime's own: onnx's checker does not know it."""
    net = make_net(13)
    x = net.input(2, 3, 8)
    centred = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1]))
    square = net.op("ReduceMean", net.op("Pow", centred, net.const(np.float32(2))), axes=[-1])
    root = net.op("Sqrt", net.op("Add", square, net.const(np.float32(1e-5))))
    y = net.op("Mul", net.op("Div", centred, root), net.positive(8))
    proto = net.proto(net.op("Add", y, net.w(8)))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    raw = onnx.load(tmp_path / "optimised.onnx")
    assert [(n.domain, n.op_type) for n in raw.graph.node] == [("", "LayerNormalization")]
    read = proto_from_model(read_model(tmp_path / "optimised.onnx"))
    onnx.checker.check_model(read, full_check=True)
    feeds = random_feeds(proto, {})
    np.testing.assert_allclose(run_ort(read, feeds)[0], run_ort(proto, feeds)[0], atol=1e-5)
