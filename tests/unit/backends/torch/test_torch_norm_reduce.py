import numpy as np
import pytest


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 4, 5), (2, 3, 2, 4, 5)])
def test_batch_norm(compare, normal, shape):
    constants = {"s": normal(3), "b": normal(3), "m": normal(3), "v": np.abs(normal(3)) + 0.1}
    compare("BatchNormalization", {"x": normal(*shape)}, constants, epsilon=1e-3)


def test_batch_norm_with_computed_statistics(compare, normal):
    feeds = {"x": normal(2, 3, 4), "m": normal(3), "v": np.abs(normal(3)) + 0.1}
    constants = {"s": normal(3), "b": normal(3)}
    compare("BatchNormalization", feeds, constants, order=["x", "s", "b", "m", "v"])


def test_batch_norm_that_the_file_puts_in_training_mode(compare, normal):
    constants = {"s": normal(3), "b": normal(3), "m": normal(3), "v": np.abs(normal(3)) + 0.1}
    compare(
        "BatchNormalization",
        {"x": normal(4, 3, 5)},
        constants,
        outputs=3,
        training_mode=1,
        momentum=0.7,
        opset=15,
        tolerance=1e-4,
    )


def test_instance_norm(compare, normal):
    constants = {"s": normal(3), "b": normal(3)}
    compare("InstanceNormalization", {"x": normal(2, 3, 4, 5)}, constants, epsilon=1e-3)


@pytest.mark.parametrize("axis", [-1, -2, 1])
@pytest.mark.parametrize("biased", [True, False])
def test_layer_norm(compare, normal, axis, biased):
    shape = (2, 3, 4, 5)
    constants = {"s": normal(*shape[axis:])} | ({"b": normal(*shape[axis:])} if biased else {})
    compare("LayerNormalization", {"x": normal(*shape)}, constants, axis=axis, epsilon=1e-3)


def test_layer_norm_scales_by_broadcasting(compare, normal):
    compare("LayerNormalization", {"x": normal(2, 3, 4)}, {"s": normal(4)}, axis=-2)


@pytest.mark.parametrize(("opset", "scaled"), [(18, 2), (21, 6)])
def test_group_norm(compare, normal, opset, scaled):
    constants = {"s": normal(scaled), "b": normal(scaled)}
    x = {"x": normal(2, 6, 4, 5)}
    compare("GroupNormalization", x, constants, opset=opset, num_groups=2, tolerance=1e-4)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn(compare, normal, size):
    compare("LRN", {"x": normal(2, 7, 4, 5)}, size=size, alpha=0.5, beta=0.6, bias=1.5)


@pytest.mark.parametrize("p", [1, 2])
def test_lp_norm(compare, normal, p):
    compare("LpNormalization", {"x": normal(2, 3, 4)}, axis=1, p=p)


def test_mean_variance_norm(compare, normal):
    compare("MeanVarianceNormalization", {"x": normal(2, 3, 4, 5)}, tolerance=1e-4)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("opset", [11, 13])
def test_softmax(compare, normal, op, axis, opset):
    compare(op, {"x": normal(2, 3, 4)}, axis=axis, opset=opset)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [11, 13])
def test_softmax_default_axis(compare, normal, op, opset):
    compare(op, {"x": normal(2, 3, 4)}, opset=opset)


REDUCE = [
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
]  # fmt: skip


@pytest.mark.parametrize("op", REDUCE)
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", [[1], [0, -1], None])
def test_reduce(compare, normal, op, keep, axes):
    x = {"x": np.abs(normal(2, 3, 4)) + 0.1}
    constants = {} if axes is None else {"axes": np.array(axes)}
    compare(op, x, constants, opset=18, keepdims=keep, tolerance=1e-4)
    if op != "ReduceSum":
        old = {} if axes is None else {"axes": axes}
        compare(op, x, opset=13, keepdims=keep, tolerance=1e-4, **old)


def test_reduce_nothing(compare, normal):
    compare(
        "ReduceSum", {"x": normal(2, 3)}, {"axes": np.zeros(0, np.int64)}, noop_with_empty_axes=1
    )


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("keep", [0, 1])
def test_arg(compare, rng, op, last, keep):
    x = {"x": rng.integers(0, 3, (4, 6)).astype(np.float32)}
    compare(op, x, axis=1, select_last_index=last, keepdims=keep)


@pytest.mark.parametrize("largest", [0, 1])
def test_top_k(compare, normal, largest):
    compare("TopK", {"x": normal(3, 7)}, {"k": np.array([3])}, outputs=2, axis=1, largest=largest)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_cum_sum(compare, normal, exclusive, reverse):
    constants = {"axis": np.array(1)}
    compare("CumSum", {"x": normal(2, 5)}, constants, exclusive=exclusive, reverse=reverse)


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("trans_b", [0, 1])
@pytest.mark.parametrize("bias", [(5,), (1, 5), (3, 5), (), None])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0)])
def test_gemm(compare, normal, trans_a, trans_b, bias, alpha, beta):
    a, b = normal(3, 4), normal(4, 5)
    constants = {"b": np.ascontiguousarray(b.T) if trans_b else b}
    if bias is not None:
        constants["c"] = np.asarray(normal(*bias), np.float32)
    feeds = {"a": np.ascontiguousarray(a.T) if trans_a else a}
    compare("Gemm", feeds, constants, transA=trans_a, transB=trans_b, alpha=alpha, beta=beta)


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (6, 4, 5)), ((4,), (4, 5))]
)
def test_mat_mul(compare, normal, a, b):
    compare("MatMul", {"a": normal(*a), "b": normal(*b)})


def test_einsum(compare, normal):
    feeds = {"a": normal(2, 3, 4), "b": normal(2, 5, 4)}
    compare("Einsum", feeds, equation="b i d , b j d -> b i j")


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("given", ["weights", "bias", "state"])
def test_recurrent(compare, normal, op, direction, given):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    count = 2 if direction == "bidirectional" else 1
    constants = {"w": normal(count, gates * 5, 4), "r": normal(count, gates * 5, 5)}
    order = ["x", "w", "r"]
    if given != "weights":
        constants["b"] = normal(count, 2 * gates * 5)
        order.append("b")
    if given == "state":
        constants["h"] = normal(count, 3, 5)
        order += ["", "h"]
        if op == "LSTM":
            constants["c"] = normal(count, 3, 5)
            order.append("c")
    compare(
        op,
        {"x": normal(6, 3, 4)},
        constants,
        order=order,
        outputs=3 if op == "LSTM" else 2,
        hidden_size=5,
        direction=direction,
    )


def test_gru_that_resets_after_the_product(compare, normal):
    constants = {"w": normal(1, 15, 4), "r": normal(1, 15, 5), "b": normal(1, 30)}
    compare("GRU", {"x": normal(6, 3, 4)}, constants, hidden_size=5, linear_before_reset=1)


@pytest.mark.parametrize("activation", ["Relu", "Tanh"])
def test_rnn_activation(compare, normal, activation):
    constants = {"w": normal(1, 5, 4), "r": normal(1, 5, 5)}
    compare("RNN", {"x": normal(6, 3, 4)}, constants, hidden_size=5, activations=[activation])


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("causal", [0, 1])
def test_attention_of_heads(compare, normal, masked, causal):
    feeds = {"q": normal(2, 4, 5, 8), "k": normal(2, 2, 6, 8), "v": normal(2, 2, 6, 8)}
    constants = {"mask": normal(5, 6)} if masked else {}
    compare("Attention", feeds, constants, opset=23, is_causal=causal, scale=0.3)


def test_attention_of_flat_heads(compare, normal):
    feeds = {"q": normal(2, 5, 8), "k": normal(2, 6, 8), "v": normal(2, 6, 8)}
    compare("Attention", feeds, opset=23, q_num_heads=2, kv_num_heads=2)


def test_rms_norm(compare, normal):
    compare("RMSNormalization", {"x": normal(2, 3, 4)}, {"s": normal(4)}, opset=23)
