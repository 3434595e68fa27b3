"""``prune`` says first what it reached of what was asked for; and if little, why."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from acgraph.ir import write_model
from acgraph.models.resnet import resnet_cifar
from acgraph.pruning.rate import format_rate


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    write_model(resnet_cifar(8, widths=(8, 16, 24), image=8), path)
    return str(path)


def _net(path: Path, middle: str) -> str:
    """Write Conv, something, Conv."""
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,2,4,4] x) => (float[1,3,4,4] y) '
        f"{{ [first] a = Conv(x, w) {middle} [second] y = Conv(b, u) }}"
    )
    proto = onnx.parser.parse_model(text)
    rng = np.random.default_rng(2)
    shapes = {"w": (6, 2, 1, 1), "u": (3, 6, 1, 1), "s": (6, 4, 4), "t": (6, 4, 4)}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(proto, path)
    return str(path)


def test_prune_says_first_what_it_reached_of_what_was_asked(acgraph, model, tmp_path):
    line = acgraph("prune", model, "-o", tmp_path / "s.onnx")[0].splitlines()[0]
    assert "fewer params" in line
    assert "asked to cut 50 % of the coupled sets" in line
    found = json.loads(acgraph("prune", model, "--format", "json")[0])
    assert found["met"]
    assert found["asked"] == {"sparsity": 0.5, "columns": 0.0}
    assert 0.4 < found["reached"]["sparsity"] <= 0.5
    assert (found["verdict"], found["hint"]) == (line, "")


def test_prune_says_why_hardly_anything_was_cut_and_what_helps(acgraph, tmp_path):
    net = _net(tmp_path / "n.onnx", "b = LayerNormalization <axis = 1> (a, s, t)")
    out = acgraph("prune", net, "-o", tmp_path / "small.onnx", code=3)[0].splitlines()
    assert out[0].startswith("nothing could be cut (asked to cut 50 %")
    assert "of the weights cannot be cut because of" in out[0]
    assert "(normalises over the axis)" in out[0]
    found = json.loads(acgraph("prune", net, "--allow-inexact", "--format", "json")[0])
    rate = found["rate"]["params"]
    assert out[1] == f"--allow-inexact would give {format_rate(rate)} fewer params."
    assert (tmp_path / "small.onnx").exists()


def test_prune_says_why_it_cut_less_than_half_of_what_was_asked(acgraph, tmp_path):
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[4,8] x) => (float[4,8] y) '
        "{ [in] a = MatMul(x, w) [norm] b = LayerNormalization(a, s) [out] c = MatMul(b, u) "
        "[up] d = MatMul(x, p) e = Relu(d) [down] f = MatMul(e, q) y = Add(c, f) }"
    )
    proto = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    shapes = {"w": (8, 64), "s": (64,), "u": (64, 8), "p": (8, 32), "q": (32, 8)}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(proto, tmp_path / "n.onnx")
    line = acgraph("prune", tmp_path / "n.onnx", "-o", tmp_path / "s.onnx")[0].splitlines()[0]
    held = (
        "\\(asked to cut 50 % of the coupled sets\\)\\. \\d+ % of the weights cannot be cut "
        "because of 'norm'"
    )
    assert re.search(held, line)


def test_prune_says_that_what_was_asked_for_is_nothing(acgraph, model):
    assert (
        "nothing was cut, because --sparsity and --columns are 0"
        in acgraph("prune", model, "--sparsity", "0")[0]
    )


@pytest.mark.parametrize(
    "words",
    [("--column-multiple", "8"), ("--column-pattern", "kernel"), ("--allow-slower",)],
)
def test_prune_refuses_what_is_of_columns_where_none_go(acgraph, model, words):
    err = acgraph("prune", model, *words, code=2)[1]
    assert f"{words[0]} is given, but no columns are cut; use for example --columns 0.5" in err


@pytest.mark.parametrize(
    "words", [("0",), ("eight",), ("8", "--sparsity", "0", "--columns", "0.5")]
)
def test_prune_refuses_an_alignment_that_means_nothing(acgraph, model, words):
    assert "--align is" in acgraph("prune", model, "--align", *words, code=2)[1]


def test_prune_keeps_filters_in_multiples(acgraph, model, tmp_path):
    for align in ("1", "4"):
        acgraph("prune", model, "--sparsity", "0.3", "--align", align, "-o", tmp_path / "s.onnx")
        sizes = {w.dims[0] for w in onnx.load(tmp_path / "s.onnx").graph.initializer}
        assert all(size % 4 == 0 for size in sizes if size > 10) == (align == "4")


def test_prune_offers_no_columns_where_there_are_none(acgraph, tmp_path):
    """All of its numbers are integers."""
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (uint8[1,64] x) => (int32[1,32] y) '
        "{ y = MatMulInteger(x, w) }"
    )
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((64, 32), np.int8), "w"))
    onnx.save(proto, tmp_path / "q.onnx")
    for words in ((), ("--sparsity", "0", "--columns", "0.5")):
        out = acgraph("prune", tmp_path / "q.onnx", *words, code=3)[0].splitlines()
        assert out[0].startswith("nothing could be cut")
        assert "100 % of the weights cannot be cut because of" in out[0]
        assert not out[1].startswith("--columns")


def test_prune_runs_nothing_where_nothing_can_be_cut(acgraph, tmp_path):
    """Whatever random inputs lead to inside an If, the file is written and the reason said."""
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (int64 rate, float[N] x) => (float[M] y) '
        "<int64 wide = {16000}> { c = Equal(rate, wide) [choice] y = If (c) "
        "<then_branch = a () => (float[M] s) { s = Identity(x) }, "
        "else_branch = b () => (float[M] t) <float[4] w = {1,2,3,4}> { t = Add(x, w) }> }"
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "n.onnx")
    given = (tmp_path / "n.onnx", "--no-ort")
    for words in (given, (*given, "--sparsity", "0", "--columns", "0.5")):
        out = acgraph("prune", *words, "-o", tmp_path / "s.onnx", code=3)[0]
        assert out.startswith("nothing could be cut")
        assert (
            "80 % of the weights cannot be cut because of 'choice/else/Add_0' (couples an axis of"
            in out
        )
        assert "nothing was cut, so the model is unchanged" in out
        assert onnx.load(tmp_path / "s.onnx").graph.node[-1].op_type == "If"
