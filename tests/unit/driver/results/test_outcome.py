"""What is measured of the two files, against numbers counted from them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from acgraph.backends.ort.equivalence import check_equivalence
from acgraph.backends.ort.latency import latency_from_samples
from acgraph.config import CompressConfig
from acgraph.config_merge import make_config
from acgraph.data import ArrayDataset
from acgraph.driver.results import outcome
from acgraph.driver.results.outcome import measure_sides, verification
from acgraph.models.demo import model_path
from acgraph.report import rates_between

Configure = Callable[..., CompressConfig]
IMAGES = np.random.default_rng(1).standard_normal((4, 1, 28, 28)).astype(np.float32)


def test_weights_beside_the_file_are_part_of_its_bytes(
    configure: Configure, tmp_path: Path
) -> None:
    split = tmp_path / "split.onnx"
    model = onnx.load(str(model_path()))
    onnx.save(
        model, str(split), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    both = split.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    before, after = measure_sides(configure(), [split, model_path()], ArrayDataset(IMAGES))
    assert before.bytes == pytest.approx(both, rel=0.05)
    assert before.bytes == pytest.approx(after.bytes, rel=0.05)
    assert before.params == after.params


def test_speed_ups_are_of_neighbouring_runs(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most runs of one model are interrupted, and few of the other; their medians say nothing."""
    samples = ([2.0] + [6.0] * 3) * 20, [1.0] * 80
    latencies = [latency_from_samples(each) for each in samples]
    monkeypatch.setattr(outcome, "measure_latency", lambda *_, **__: latencies)
    config = configure(timing=True)
    sides = measure_sides(config, [model_path(), model_path()], ArrayDataset(IMAGES))
    assert rates_between(*sides).latency == 2.0
    assert sides[0].latency_ms is not None
    assert sides[0].latency_ms.p50 == 6.0


def _equivalence(ours: str, theirs: str, outputs: str = "float[N,2] y") -> tuple[bytes, bytes]:
    """Make two models of one input from the text of their bodies."""
    head = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,2] x) => '
    constants = "<float[1] zero = {0}, float[2] k = {1, 2}>"
    texts = [f"{head}({outputs}) {constants} {{ {body} }}" for body in (ours, theirs)]
    made = [onnx.parser.parse_model(text).SerializeToString() for text in texts]
    return made[0], made[1]


def test_constant_outputs_show_nothing() -> None:
    found = verification(check_equivalence(*_equivalence("y = Mul(x, zero)", "y = Mul(x, zero)")))
    assert found.passed
    assert found.vacuous
    assert not found.shows_equivalence


def test_one_constant_output_among_others_is_noted() -> None:
    body = "y = Mul(x, zero) z = Add(x, k)"
    found = verification(check_equivalence(*_equivalence(body, body, "float[N,2] y, float[N,2] z")))
    assert found.shows_equivalence
    assert found.notes == ("output 'y' does not depend on the inputs",)


def test_nan_is_a_failure_with_its_reason_and_no_number() -> None:
    body = "n = Neg(x) y = Sqrt(n)"
    found = verification(check_equivalence(*_equivalence(body, body)))
    assert not found.passed
    assert found.max_abs_error is None
    assert found.notes == ("output 'y': NaN in the output",)


def test_a_batch_that_the_masked_model_cannot_run_is_noted() -> None:
    body = "s = Reshape(x, shape) y = Add(s, k)"
    head = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,2] x) => (float[1,2] y) '
    text = f"{head}<float[2] k = {{1, 2}}, int64[2] shape = {{1, 2}}> {{ {body} }}"
    model = onnx.parser.parse_model(text).SerializeToString()
    found = verification(check_equivalence(model, model))
    assert found.shows_equivalence
    assert found.notes == ("not compared on batch 2: the masked model cannot run it",)


def test_nodes_of_unknown_macs_are_named_for_each_side(tmp_path: Path) -> None:
    branch = "=> (float[N,2] o) { o = MatMul(x, w) }"
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,2] x) => (float[N,2] y) '
        "<float[2,2] w = {1, 2, 3, 4}> "
        "{ m = ReduceMax <keepdims = 0> (x) c = Cast <to = 9> (m) [choice] a = If (c) "
        f"<then_branch = a () {branch}, else_branch = b () {branch}> y = MatMul(a, w) }}"
    )
    known = text.replace(text[text.index("[choice]") : text.index(" y = Mat")], "a = Relu(x)")
    paths = [tmp_path / "if.onnx", tmp_path / "plain.onnx"]
    for path, made in zip(paths, (text, known), strict=True):
        onnx.save(onnx.parser.parse_model(made), path)
    config = make_config({"model": str(paths[0]), "target_rate": "2x", "timing": False})
    data = ArrayDataset(np.ones((3, 2), np.float32))
    before, after = measure_sides(config, paths, data)
    # What reads the branch has no known shape either.
    assert before.macs_unknown == ("choice", "MatMul_3")
    assert after.macs_unknown == ()
    assert (before.macs, after.macs) == (0, 4)
    assert rates_between(before, after).macs is None
