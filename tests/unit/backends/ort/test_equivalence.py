"""The equivalence check: equal models pass, wrong ones fail, empty comparisons are told apart."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from acgraph.backends.ort.compare import array_errors
from acgraph.backends.ort.equivalence import check_equivalence
from acgraph.errors import UsageError, VerifyError
from acgraph.ir import InputSizes

ConvNet = Callable[..., onnx.ModelProto]
Parse = Callable[[str], bytes]


def _change(proto: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in copy.graph.initializer:
        if tensor.name == name:
            values = change(numpy_helper.to_array(tensor).copy())
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))
    return copy.SerializeToString()


def _without_channel(proto: onnx.ModelProto, channel: int) -> tuple[bytes, bytes]:
    """Delete one channel, and zero it in a copy: the two sides of the equivalence."""
    masked, compact = onnx.ModelProto(), onnx.ModelProto()
    masked.CopyFrom(proto)
    compact.CopyFrom(proto)
    for tensor in masked.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if tensor.name in ("w", "b", "gamma", "beta", "v"):
            values[channel] = 0
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for tensor in compact.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name != "d":
            values = np.delete(values, channel, axis=0)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return compact.SerializeToString(), masked.SerializeToString()


def test_a_deleted_channel_equals_a_zeroed_one(conv_net: ConvNet) -> None:
    compact, masked = _without_channel(conv_net(), 2)
    result = check_equivalence(compact, masked)
    assert result.passed
    assert not result.vacuous
    assert result.max_rel_error < 1e-5
    assert result.inputs == 4  # three of batch 1, one of batch 2
    assert [output.name for output in result.per_output] == ["logits"]


def test_the_wrong_channel_fails(conv_net: ConvNet) -> None:
    compact, _ = _without_channel(conv_net(), 2)
    _, masked = _without_channel(conv_net(), 3)
    result = check_equivalence(compact, masked)
    assert not result.passed
    assert result.max_rel_error > 1e-2
    assert "relative error" in result.per_output[0].reason


@pytest.mark.parametrize(("relative", "passed"), [(2e-5, True), (1e-3, False)])
def test_the_tolerance_is_relative_to_the_largest_output(
    conv_net: ConvNet, relative: float, passed: bool
) -> None:
    proto = conv_net(scale=0.1)
    scaled = _change(proto, "v", lambda v: v * (1 + relative))
    scaled = _change(onnx.ModelProto.FromString(scaled), "d", lambda d: d * (1 + relative))
    result = check_equivalence(scaled, proto.SerializeToString())
    assert result.passed is passed
    assert result.max_rel_error == pytest.approx(relative, rel=0.1)
    assert check_equivalence(scaled, proto.SerializeToString(), tolerance=0.01).passed


def test_nan_fails_even_where_both_have_it(conv_net: ConvNet) -> None:
    broken = _change(conv_net(), "d", lambda d: d * np.nan)
    result = check_equivalence(broken, broken)
    assert not result.passed
    assert result.max_abs_error == np.inf
    assert "NaN" in result.per_output[0].reason


def test_a_dead_reference_is_vacuous(conv_net: ConvNet) -> None:
    dead = _change(conv_net(), "v", np.zeros_like)
    zero = _change(onnx.ModelProto.FromString(dead), "d", np.zeros_like)
    for reference in (dead, zero):  # the same for every input; zero throughout
        result = check_equivalence(reference, reference)
        assert result.passed
        assert result.vacuous
        assert result.per_output[0].vacuous


def test_one_live_output_is_enough(parse: Parse) -> None:
    model = parse(
        "g (float[1,3] x) => (float[1,3] y, float[1,3] z)"
        "<float zero = {0}> { y = Relu(x) z = Mul(x, zero) }"
    )
    result = check_equivalence(model, model)
    assert not result.vacuous
    assert [output.vacuous for output in result.per_output] == [False, True]


def test_integer_outputs_are_compared_exactly(parse: Parse) -> None:
    first = parse("g (float[1,9] x) => (int64[1,1] y) { y = ArgMax <axis = 1> (x) }")
    last = parse("g (float[1,9] x) => (int64[1,1] y) { n = Neg(x) y = ArgMax <axis = 1> (n) }")
    assert check_equivalence(first, first).passed
    result = check_equivalence(last, first)
    assert not result.passed
    assert "1 of 1 values differ" in result.per_output[0].reason


def test_another_shape_fails(parse: Parse) -> None:
    one = parse("g (float[1,4] x) => (float[N,M] y) { y = Relu(x) }")
    other = parse(
        "g (float[1,4] x) => (float[N,M] y)<int64[2] s = {2, 2}> { r = Relu(x) y = Reshape(r, s) }"
    )
    result = check_equivalence(other, one)
    assert not result.passed
    assert result.per_output[0].reason == "shape [2, 2] instead of [1, 4]"


def test_given_inputs_are_compared_too(parse: Parse) -> None:
    """A difference that random inputs never show is found on the input that shows it."""
    plain = parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    capped = parse(
        "g (float[1,4] x) => (float[1,4] y)<float top = {50}> { r = Relu(x) y = Min(r, top) }"
    )
    assert check_equivalence(capped, plain).passed
    feeds = {"x": np.full((1, 4), 60, np.float32)}
    result = check_equivalence(capped, plain, inputs=[feeds])
    assert not result.passed
    assert result.inputs == 4
    assert not check_equivalence(capped, plain, inputs=[feeds], seeds=0).passed


def test_a_batch_baked_into_the_compact_model_is_found(parse: Parse) -> None:
    free = parse("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    baked = parse(
        "g (float[N,4] x) => (float[N,4] y)<int64[2] s = {1, -1}>{ r = Relu(x) y = Reshape(r, s) }"
    )
    result = check_equivalence(baked, free)
    assert not result.passed
    assert "shape [1, 8] instead of [2, 4]" in result.per_output[0].reason


def test_a_batch_that_the_reference_cannot_do_is_noted(parse: Parse) -> None:
    baked = parse(
        "g (float[N,4] x) => (float[N,4] y)<int64[2] s = {1, 4}>{ r = Relu(x) y = Reshape(r, s) }"
    )
    result = check_equivalence(baked, baked)
    assert result.passed
    assert result.inputs == 3
    assert result.notes == ("not compared on batch 2: the masked model cannot run it",)


def test_an_image_size_baked_into_the_compact_model_is_found(parse: Parse) -> None:
    free = parse("g (float[1,1,H,W] x) => (float[1,1,A,B] y) { y = Relu(x) }")
    baked = parse(
        "g (float[1,1,H,W] x) => (float[1,1,A,B] y)<int64[4] s = {1, 1, 224, -1}>"
        "{ r = Relu(x) y = Reshape(r, s) }"
    )
    assert check_equivalence(free, free).inputs == 4
    result = check_equivalence(baked, free)
    assert not result.passed
    assert result.notes[0].startswith("the compact model cannot run an input of 1x1x160x160: ")
    fitting = check_equivalence(baked, free, sizes=InputSizes({"x": (1, 1, 224, 3)}))
    assert [entry.max_rel_error for entry in fitting.per_output] == [np.inf]
    assert "cannot run an input of 1x1x160x6" in fitting.notes[0]


def test_different_signatures_are_refused(parse: Parse) -> None:
    one = parse("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    renamed = parse("g (float[1,4] x) => (float[1,4] z) { z = Relu(x) }")
    other = parse("g (float[1,4] a) => (float[1,4] y) { y = Relu(a) }")
    retyped = parse("g (double[1,4] x) => (double[1,4] y) { y = Relu(x) }")
    for model, message in (
        (renamed, "has the output"),
        (other, "has the input"),
        (retyped, r"tensor\(double\) instead of a tensor\(float\)"),
    ):
        with pytest.raises(VerifyError, match=message):
            check_equivalence(model, one)


def test_token_models_are_fed_tokens(tmp_path: Path, parse: Parse) -> None:
    """Rows of the table beyond the first two matter: a wrong one must be found."""
    text = (
        "g (int64[1,64] ids) => (float[1,64,1] y)"
        "<float[6,1] table = {{1, 2, 3, 4, 5, {last}}}> {{ y = Gather(table, ids) }}"
    )
    right, wrong = tmp_path / "right.onnx", tmp_path / "wrong.onnx"
    right.write_bytes(parse(text.format(last=6)))
    wrong.write_bytes(parse(text.format(last=7)))
    assert check_equivalence(right, right).passed
    assert not check_equivalence(wrong, right).passed


@pytest.mark.parametrize(
    "bad", [{"seeds": 0}, {"seeds": -1}, *({"tolerance": t} for t in (-1.0, np.inf, np.nan))]
)
def test_bad_questions(conv_net: ConvNet, bad: dict[str, float]) -> None:
    model = conv_net().SerializeToString()
    with pytest.raises(UsageError):
        check_equivalence(model, model, **bad)  # type: ignore[arg-type]


def test_array_errors_with_infinities() -> None:
    a = np.array([1.0, -np.inf], np.float32)
    assert array_errors(a, a.copy()) == (0.0, 0.0, "")
    assert array_errors(np.array([1.0, 5.0], np.float32), a)[0] == np.inf
    assert array_errors(np.ones(2, np.float32), np.zeros(2, np.float32))[1] > 1e30
    assert array_errors(np.ones(2), np.ones(2, np.float32))[2] == "type float64 instead of float32"
