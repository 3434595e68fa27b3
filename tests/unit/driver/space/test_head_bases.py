"""Features of attention heads: found, put in order without changing the network, and cut."""

import logging
import warnings
from io import BytesIO

import numpy as np
import onnx
import pytest
import torch

import acgraph
from acgraph.analysis.attention import free_bases
from acgraph.analysis.dependency import analyse
from acgraph.driver.space import feature_order
from acgraph.driver.space.head_bases import change_bases
from acgraph.ir import clone_model, model_from_proto, proto_from_model, replace_constants
from acgraph.pruning.head_basis import head_basis
from tests.conftest import run_ort

HEADS, SIZE, WIDTH = 3, 8, 20


def _split_heads(net, x, heads, size):
    x = net.op("Reshape", x, net.ints(0, 0, heads, size))
    return net.op("Transpose", x, perm=[0, 2, 1, 3])


def _attend(net, q, k, v, heads, size, *, name=None):
    k = net.op("Transpose", k, perm=[0, 1, 3, 2])
    scores = net.op("Mul", net.op("MatMul", q, k), net.const(np.float32(size**-0.5)))
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), v)
    mixed = net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]),
                   net.ints(0, 0, heads * size))  # fmt: skip
    return net.op("Add", net.op("MatMul", mixed, net.w(heads * size, 6)), net.w(6))


def _linear(net, x, columns, filters):
    return net.op("Add", net.op("MatMul", x, net.w(columns, filters)), net.w(filters))


def separate(make_net, kv_heads=HEADS):
    """Queries, keys and values of three layers; several heads may share keys and values."""
    net = make_net()
    x = net.input("n", 7, WIDTH)
    q = _split_heads(net, _linear(net, x, WIDTH, HEADS * SIZE), HEADS, SIZE)
    k, v = (
        _split_heads(net, _linear(net, x, WIDTH, kv_heads * SIZE), kv_heads, SIZE) for _ in "kv"
    )
    return net.proto(_attend(net, q, k, v, HEADS, SIZE))


def joined(make_net):
    """Queries, keys and values of one layer, as many vision transformers have them."""
    net = make_net()
    x = net.input("n", 7, WIDTH)
    y = net.op("Reshape", _linear(net, x, WIDTH, 3 * HEADS * SIZE), net.ints(0, 0, 3, HEADS, SIZE))
    y = net.op("Transpose", y, perm=[2, 0, 3, 1, 4])
    q, k, v = (net.op("Gather", y, net.const(np.int64(part)), axis=0) for part in range(3))
    return net.proto(_attend(net, q, k, v, HEADS, SIZE))


def rotary(make_net):
    """Queries that depend on the position: their basis is not free, that of the values is."""
    net = make_net()
    x = net.input("n", 7, WIDTH)
    q, k, v = (_split_heads(net, _linear(net, x, WIDTH, HEADS * SIZE), HEADS, SIZE) for _ in "qkv")
    q = net.op("Mul", q, net.const(np.linspace(0.5, 2, 7 * SIZE, dtype="f4").reshape(7, SIZE)))
    return net.proto(_attend(net, q, k, v, HEADS, SIZE))


class Block(torch.nn.Module):
    """One block of a vision transformer."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.qkv = torch.nn.Linear(WIDTH, 3 * HEADS * SIZE)
        self.out = torch.nn.Linear(HEADS * SIZE, WIDTH)

    def forward(self, x):
        b, n, _ = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, n, 3, HEADS, SIZE).permute(2, 0, 3, 1, 4)
        y = torch.nn.functional.scaled_dot_product_attention(*qkv.unbind(0))
        return x + self.out(y.transpose(1, 2).reshape(b, n, HEADS * SIZE))


def exported(*, dynamo):
    """The block as PyTorch exports it."""
    torch.manual_seed(0)
    dynamic = {"dynamic_axes": {"x": {0: "n"}}}
    if dynamo:
        dynamic = {"dynamic_shapes": ({0: torch.export.Dim("n")},), "verbose": False}
    file = BytesIO()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter
            torch.onnx.export(
                Block().eval(), (torch.randn(2, 7, WIDTH),), file, input_names=["x"],
                dynamo=dynamo, **dynamic,
            )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load_model_from_string(file.getvalue())


@pytest.fixture(
    params=["separate", "shared keys", "joined", "dynamo", "legacy"],
)
def attention(request, make_net):
    """An attention block, and its numbers of score blocks and value heads."""
    if request.param == "separate":
        return separate(make_net), (HEADS, HEADS)
    if request.param == "shared keys":
        return separate(make_net, kv_heads=1), (1, 1)
    if request.param == "joined":
        return joined(make_net), (HEADS, HEADS)
    return exported(dynamo=request.param == "dynamo"), (HEADS, HEADS)


def _tokens(count, seed=0):
    """Tokens with a few strong directions."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(9).standard_normal((WIDTH, WIDTH)) * 0.6 ** np.arange(WIDTH)
    return (rng.standard_normal((count, 7, WIDTH)) @ basis.T).astype("f4")


def test_a_change_of_basis_leaves_the_function_as_it_is(attention):
    proto, counts = attention
    model = model_from_proto(proto)
    bases = free_bases(model, analyse(model).facts)
    assert (len(bases.scores), len(bases.values)) == counts
    assert {each.shifted for each in bases.scores} == {"right"}
    changed = change_bases(bases, model.constants(), {})
    before = {name: model.constants()[name].copy() for name in changed}
    assert all(np.abs(value - before[name]).max() > 1e-3 for name, value in changed.items())
    turned = clone_model(model)
    replace_constants(turned, changed)
    x = _tokens(5)
    ours, theirs = (run_ort(proto_from_model(m), {"x": x})[0] for m in (turned, model))
    np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())


def test_a_basis_that_depends_on_the_position_is_not_free(make_net):
    model = model_from_proto(rotary(make_net))
    bases = free_bases(model, analyse(model).facts)
    assert (len(bases.scores), len(bases.values)) == (0, HEADS)


def test_features_used_elsewhere_are_not_free(make_net):
    net = make_net()
    x = net.input("n", 7, WIDTH)
    q, k, v = (_split_heads(net, _linear(net, x, WIDTH, HEADS * SIZE), HEADS, SIZE) for _ in "qkv")
    seen = net.op("Relu", k)
    model = model_from_proto(net.proto(_attend(net, q, k, v, HEADS, SIZE), seen))
    bases = free_bases(model, analyse(model).facts)
    assert (len(bases.scores), len(bases.values)) == (0, HEADS)


def test_the_first_features_are_the_best_approximation_of_the_product():
    rng = np.random.default_rng(0)
    q, k = (rng.standard_normal((500, 8)) @ rng.standard_normal((8, 8)) for _ in range(2))
    one, other = q.T @ q / 500, k.T @ k / 500
    basis = head_basis(one, other)
    assert basis is not None
    turned_q, turned_k = q @ basis, k @ np.linalg.inv(basis).T
    np.testing.assert_allclose(turned_q @ turned_k.T, q @ k.T, atol=1e-9)
    best = np.linalg.svd(q @ k.T, compute_uv=False)
    for kept in (2, 4, 6):
        error = ((turned_q[:, :kept] @ turned_k[:, :kept].T - q @ k.T) ** 2).sum()
        assert error == pytest.approx((best[kept:] ** 2).sum(), rel=0.02)


def _error(result, proto, x):
    ours, theirs = (run_ort(p, {"x": x})[0] for p in (proto_from_model(result.model), proto))
    return float(((ours - theirs) ** 2).mean() / theirs.var(axis=(0, 1)).mean())


@pytest.mark.parametrize("make", [separate, joined])
def test_half_of_the_features_can_be_cut(make, make_net, monkeypatch):
    """The tokens have few directions, which half of the features in the right basis can hold."""
    proto, x, fresh = make(make_net), _tokens(300), _tokens(60, seed=1)
    found = acgraph.prune(proto, sparsity=0.5, data=x)
    assert found.report.verify.passed
    error = _error(found, proto, fresh)
    assert error < 0.3 * _error(acgraph.prune(proto, sparsity=0.5), proto, fresh)
    monkeypatch.setattr(feature_order, "change_bases", lambda *args: {})
    assert error < 0.5 * _error(acgraph.prune(proto, sparsity=0.5, data=x), proto, fresh)
