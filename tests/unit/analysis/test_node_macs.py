"""MACs against numbers worked out by hand."""

import onnx
import onnx.parser
import pytest

from acgraph.analysis.cost import macs_by_node, model_cost
from acgraph.ir import infer_facts, model_from_proto, resolve_sizes


def _model(text: str, opset: int = 17) -> onnx.ModelProto:
    header = f'<ir_version: 9, opset_import: ["" : {opset}, "acme.ops" : 1]>\n'
    return onnx.parser.parse_model(header + text)


def _only(text: str, opset: int = 17) -> int | None:
    """Count the last node of a graph."""
    model = model_from_proto(_model(text, opset))
    return list(macs_by_node(model, infer_facts(model)).values())[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # 6 filters of 3*3*3 at 8*8 places
        (
            "g (float[1,3,8,8] x, float[6,3,3,3] w) => (float[1,6,8,8] y)"
            "{ y = Conv <pads = [1,1,1,1]> (x, w) }",
            6 * 27 * 64,
        ),
        # stride 2 without pads: 3*3 places
        (
            "g (float[1,3,8,8] x, float[6,3,3,3] w) => (float[1,6,3,3] y)"
            "{ y = Conv <strides = [2,2]> (x, w) }",
            6 * 27 * 9,
        ),
        # two groups: each filter sees 2 of 4 channels
        (
            "g (float[1,4,5,5] x, float[6,2,1,1] w) => (float[1,6,5,5] y)"
            "{ y = Conv <group = 2> (x, w) }",
            6 * 2 * 25,
        ),
        # depthwise, one dimension, batch 2
        (
            "g (float[2,4,9] x, float[4,1,3] w) => (float[2,4,7] y){ y = Conv <group = 4> (x, w) }",
            2 * 4 * 3 * 7,
        ),
        # every input pixel is multiplied into 5 filters of 2*2
        (
            "g (float[1,3,4,4] x, float[3,5,2,2] w) => (float[1,5,8,8] y)"
            "{ y = ConvTranspose <strides = [2,2]> (x, w) }",
            3 * 16 * 5 * 4,
        ),
        (
            "g (float[7,3] x, float[5,7] w) => (float[3,5] y)"
            "{ y = Gemm <transA = 1, transB = 1> (x, w) }",
            3 * 7 * 5,
        ),
        ("g (float[2,7] x, float[7,5] w) => (float[2,5] y){ y = Gemm (x, w) }", 2 * 7 * 5),
        (
            "g (float[2,1,3,4] a, float[6,4,5] b) => (float[2,6,3,5] y){ y = MatMul(a, b) }",
            2 * 6 * 3 * 4 * 5,
        ),
        ("g (float[4] a, float[4] b) => (float y){ y = MatMul(a, b) }", 4),
        (
            "g (float[2,3,4] a, float[2,5,4] b) => (float[2,3,5] y)"
            '{ y = Einsum <equation = "bik,bjk->bij"> (a, b) }',
            2 * 3 * 5 * 4,
        ),
        (
            "g (float[2,3,4] a, float[4,5] b) => (float[2,3,5] y)"
            '{ y = Einsum <equation = "...k,kj"> (a, b) }',
            2 * 3 * 4 * 5,
        ),
        # (a b) first: 2*3*4, then times c: 2*4*5
        (
            "g (float[2,3] a, float[3,4] b, float[4,5] c) => (float[2,5] y)"
            '{ y = Einsum <equation = "ij,jk,kl->il"> (a, b, c) }',
            2 * 3 * 4 + 2 * 4 * 5,
        ),
        # no sum, no accumulation
        (
            "g (float[2] a, float[3] b) => (float[2,3] y)"
            '{ y = Einsum <equation = "i,j->ij"> (a, b) }',
            0,
        ),
        # 4 gates of hidden 5, input 3, 6 steps, batch 2
        (
            "g (float[6,2,3] x, float[1,20,3] w, float[1,20,5] r) => (float[6,1,2,5] y)"
            "{ y = LSTM <hidden_size = 5> (x, w, r) }",
            6 * 2 * 20 * (3 + 5),
        ),
        # 3 gates, both directions
        (
            "g (float[6,2,3] x, float[2,15,3] w, float[2,15,5] r) => (float[6,2,2,5] y)"
            '{ y = GRU <hidden_size = 5, direction = "bidirectional"> (x, w, r) }',
            6 * 2 * 2 * 15 * (3 + 5),
        ),
        ("g (float[1,3,8,8] x) => (float[1,3,8,8] y){ y = Relu(x) }", 0),
    ],
)
def test_counts_by_hand(text: str, expected: int) -> None:
    assert _only(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # 4-D: batch 2, 3 heads, 5 queries, 7 keys, sizes 4 and 6
        (
            "g (float[2,3,5,4] q, float[2,3,7,4] k, float[2,3,7,6] v) => (float[2,3,5,6] y)"
            "{ y = Attention (q, k, v) }",
            2 * 3 * 5 * 7 * (4 + 6),
        ),
        # 3-D, grouped queries: 4 heads on 2 key heads of size 8
        (
            "g (float[2,5,32] q, float[2,7,16] k, float[2,7,16] v) => (float[2,5,32] y)"
            "{ y = Attention <q_num_heads = 4, kv_num_heads = 2> (q, k, v) }",
            2 * 4 * 5 * 7 * (8 + 8),
        ),
        # 10 cached keys
        (
            "g (float[1,2,5,4] q, float[1,2,7,4] k, float[1,2,7,4] v, float[1,2,10,4] pk,"
            " float[1,2,10,4] pv) => (float[1,2,5,4] y, float[1,2,17,4] nk, float[1,2,17,4] nv)"
            "{ y, nk, nv = Attention (q, k, v, , pk, pv) }",
            2 * 5 * 17 * (4 + 4),
        ),
    ],
)
def test_counts_attention_by_hand(text: str, expected: int) -> None:
    assert _only(text, opset=23) == expected


def test_unknown_shapes_are_named_and_not_zero() -> None:
    text = (
        "g (float[2,3] x, float[3,4] w, float[4,5] v) => (float[2,5] y)"
        "{ a = MatMul(x, w) b = acme.ops.Mystery(a) y = MatMul(b, v) }"
    )
    model = model_from_proto(_model(text))
    names = [node.name for node in model.graph.nodes]
    cost = model_cost(model)
    assert cost.macs == 2 * 3 * 4
    assert cost.unknown == (names[1], names[2])


def test_control_flow_around_products_is_unknown() -> None:
    branch = "=> (float[2,4] o) { o = MatMul(x, w) }"
    text = (
        "g (bool c, float[2,3] x, float[3,4] w) => (float[2,4] y)"
        f"{{ y = If (c) <then_branch = a () {branch}, else_branch = b () {branch}> }}"
    )
    model = model_from_proto(_model(text))
    assert model_cost(model).unknown == (model.graph.nodes[0].name,)


def test_control_flow_without_products_costs_nothing() -> None:
    branch = "=> (float[2,3] o) { o = Relu(x) }"
    text = (
        "g (bool c, float[2,3] x) => (float[2,3] y)"
        f"{{ y = If (c) <then_branch = a () {branch}, else_branch = b () {branch}> }}"
    )
    cost = model_cost(model_from_proto(_model(text)))
    assert (cost.macs, cost.unknown) == (0, ())


def test_open_sizes_are_those_settled_and_the_batch_is_one() -> None:
    text = "g (float[N,3,H,W] x, float[6,3,1,1] w) => (float[N,6,H,W] y){ y = Conv (x, w) }"
    model = model_from_proto(_model(text))
    assert model_cost(model).macs == 6 * 3 * 224 * 224
    resolve_sizes(model, {"x": (1, 3, 10, 4)})
    assert model_cost(model).macs == 6 * 3 * 10 * 4
