"""Whatever would fail after training fails before it, in one line; and after it nothing is lost."""

import re
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from acgraph.backends.ort.equivalence import check_equivalence
from acgraph.backends.ort.examples import real_inputs
from acgraph.backends.ort.session import Session
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.cli.main import run
from acgraph.config import CompressConfig
from acgraph.data import ArrayDataset
from acgraph.driver.compress import compress
from acgraph.driver.stages import export, lower, measure, verify
from acgraph.errors import AcgraphError, BackendError, OutputError, VerifyError
from acgraph.ir import Model, model_from_proto
from acgraph.models.demo import model_path

Configure = Callable[..., CompressConfig]


@pytest.fixture
def quick(configure: Configure) -> Configure:
    """Runs of a second or two."""

    def make(*settings: str, **options: Any) -> CompressConfig:
        values: dict[str, Any] = {
            "criterion": "magnitude", "columns": {"enabled": False}, "epochs": 0,
            "target_rate": "1.5x",
        }  # fmt: skip
        return configure("search.evaluations=1", *settings, **{**values, **options})

    return make


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where any training, or a round, begins."""

    def begin(*_: object, **__: object) -> None:
        raise AssertionError("training has begun")

    monkeypatch.setattr(TorchTrainer, "fit", begin)
    monkeypatch.setattr("acgraph.driver.stages.rounds.cut", begin)
    monkeypatch.setattr("acgraph.driver.stages.plan.measure_pace", begin)


def _refused(config: CompressConfig, kind: type[AcgraphError], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        compress(config)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("nothing has been trained yet")
    assert not (config.output / ".rehearsal").exists()
    assert not (config.output / "model.onnx").exists()
    assert not list((config.output / "checkpoints").glob("stage*"))


def _wrong(model: Model) -> None:
    """Change one weight of a compact model."""
    constant = next(n.inputs[1] for n in model.graph.nodes if n.op == "Conv")
    constant.values = constant.values + np.eye(1, dtype=np.float32).sum()


@pytest.mark.parametrize(
    ("module", "step", "kind"),
    [
        (export, "write_ort", BackendError),
        (export, "write_model", OutputError),
        (measure, "measure_sides", BackendError),
    ],
)
def test_a_step_that_fails_at_the_end_fails_first(
    quick: Configure, untrained: None, monkeypatch: pytest.MonkeyPatch, module: Any, step: str,
    kind: type[AcgraphError],
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise kind("cannot do it", hint="do not ask for it")

    monkeypatch.setattr(module, step, fail)
    said = f"^{re.escape(str(model_path()))}: cannot do it; do not ask for it; nothing"
    _refused(quick(), kind, said)


def test_a_lowering_that_is_wrong_fails_first(
    quick: Configure, untrained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = lower.compact

    def compact(*arguments: Any, **options: Any) -> Any:
        small, lowered = real(*arguments, **options)
        _wrong(small)
        return small, lowered

    monkeypatch.setattr(lower, "compact", compact)
    _refused(quick(), VerifyError, "the equivalence check failed: output '[^']+': .*; nothing")


def test_a_disk_without_room_is_refused_first(
    quick: Configure, untrained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
    said = (
        "out: about [\\d.]+ MB are needed for checkpoints and results, but only 1 kB are "
        "free; free some"
    )
    _refused(quick(), OutputError, said)


def test_a_tool_that_is_not_installed_is_named_first(
    quick: Configure, untrained: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime.quantization.shape_inference", None)
    said = "quantiser cannot be imported: .*shape_inference.*; omit --quantize; nothing"
    _refused(quick(quantize="int8"), BackendError, said)


def test_a_model_that_onnx_runtime_does_not_run_fails_first(
    quick: Configure, untrained: None, tmp_path: Path
) -> None:
    """PyTorch runs it at any batch; in the file a size is baked in that fits none."""
    proto = onnx.load(str(model_path()))
    last = proto.graph.node[-1]
    shape = numpy_helper.from_array(np.array([7, 10], np.int64), "wrong_shape")
    proto.graph.initializer.append(shape)
    name, last.output[0] = last.output[0], "before"
    proto.graph.node.append(onnx.helper.make_node("Reshape", ["before", "wrong_shape"], [name]))
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    model = tmp_path / "baked.onnx"
    onnx.save(proto, model)
    with pytest.raises(AcgraphError) as caught:
        compress(quick(model=str(model)))
    assert "\n" not in str(caught.value)


def test_the_rehearsal_leaves_the_run_as_it_was(quick: Configure) -> None:
    lines: list[str] = []
    config = quick()
    report = compress(config, status=lines.append)
    assert [k for k, line in enumerate(lines) if line.startswith("rehearsal: ")] == [
        2
    ]  # after the task and the baseline
    assert report.verify.passed
    assert report.verify.vacuous is False
    assert {p.name for p in config.output.iterdir()} == {
        "checkpoints", "masked.onnx", "model.onnx", "model.ort", "plan.json", "report.html",
        "report.json", "model.required_operators_and_types.config",
    }  # fmt: skip


def test_a_check_that_fails_after_training_loses_nothing(
    quick: Configure, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = quick()
    calls = 0

    def check(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        found = check_equivalence(*arguments, **options)
        if calls == 1:
            return found
        outputs = tuple(replace(entry, reason="differs") for entry in found.per_output)
        return replace(found, passed=False, per_output=outputs)

    with monkeypatch.context() as patch:
        patch.setattr(verify, "check_equivalence", check)
        with pytest.raises(VerifyError) as caught:
            compress(config)
    failed = config.output / "failed-check"
    name = Session(str(model_path())).outputs[0].name
    assert str(caught.value) == (
        f"{failed / 'model.onnx'}: the equivalence check failed: output '{name}': differs; do "
        "not deploy this model; acgraph verify can compare it with masked.onnx in the same "
        f"folder; the trained network is saved: acgraph compress --resume {config.output} "
        "writes the results without training again"
    )
    assert caught.value.exit_code == 1
    assert not (config.output / "model.onnx").exists()
    assert {"model.onnx", "masked.onnx", "report.json"} <= {p.name for p in failed.iterdir()}
    assert run(["compress", "--resume", str(config.output)]) in (0, 3)
    err = capfd.readouterr().err
    assert "the network is already trained; only the results are written again" in err
    assert "rehearsal" not in err
    assert "round 1" not in err
    assert (config.output / "model.onnx").is_file()
    assert not failed.exists()


@pytest.mark.parametrize("error", [BackendError("no"), RuntimeError("no")])
def test_an_export_that_fails_after_training_says_how_to_go_on(
    quick: Configure, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    config = quick()
    calls = 0
    real = export.write_ort

    def write(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise error
        return real(*arguments)

    monkeypatch.setattr(export, "write_ort", write)
    with pytest.raises(AcgraphError) as caught:
        compress(config)
    assert re.search(r"\bno\b", str(caught.value))
    assert f"acgraph compress --resume {config.output} writes the results" in str(caught.value)


def _session(batch: str, *nodes: str) -> Session:
    body = "\n".join(nodes)
    head = f'<ir_version: 8, opset_import: ["": 17]> g (float[{batch},2] x) => (float[a,b] y)'
    text = f"{head} {{\n{body}\n}}"
    return Session(model_from_proto(onnx.parser.parse_model(text)))


def test_inputs_are_examples_in_the_numbers_that_the_model_takes() -> None:
    data = ArrayDataset(np.arange(20, dtype=np.float32).reshape(10, 2))
    free = real_inputs(_session("N", "y = Neg(x)"), data, (1, 1, 4))
    assert [feeds["x"].shape for feeds in free] == [(1, 2), (1, 2), (4, 2)]
    assert not np.array_equal(free[0]["x"], free[1]["x"])
    fixed = real_inputs(_session("3", "y = Neg(x)"), data, (1, 4))
    assert [feeds["x"].shape for feeds in fixed] == [(3, 2), (3, 2)]
    baked = ["s = Constant <value_ints = [1, 2]> ()", "y = Reshape(x, s)"]
    some = real_inputs(_session("N", *baked), data, (4, 1))
    assert [feeds["x"].shape for feeds in some] == [(1, 2)]
    with pytest.raises(BackendError, match="Reshape"):
        real_inputs(_session("N", *baked), data, (4, 5))
    few = ArrayDataset(np.ones((1, 2), np.float32))
    assert len(real_inputs(_session("N", "y = Neg(x)"), few, (1, 4))) == 2
