"""``compress`` and ``demo`` hand what they were told to the driver, and answer with its report."""

import json
from pathlib import Path

import onnx_graphsurgeon as gs
import pytest

from acgraph.cli.main import run
from acgraph.config_merge import make_config
from acgraph.driver.checkpoint import checkpoints
from acgraph.ir import Model
from acgraph.pruning.rate import Rate


@pytest.fixture
def driver(monkeypatch, report):
    """Stand in for the driver; remember the configurations that it was given."""
    given = []

    def compress(config, progress, status, begin, passes=None, functions=None):
        compress.passes = passes
        given.append(config)
        if status is not None:
            status("baseline: 92.58 %")
        if progress is not None:
            progress.start(10, "round 1")
            progress.update(10, 0.5, 1000.0)
            progress.finish()
        return compress.report

    compress.report = report
    compress.given = given
    monkeypatch.setattr("acgraph.driver.compress.compress", compress)
    return compress


OPTIONS = [
    (["--metric", "macs"], "metric", "macs"),
    (["--max-drop", "1.5"], "max_drop", 1.5),
    (["--data", "d.npz"], "data", "d.npz"),
    (["--eval-data", "e.npz"], "eval_data", "e.npz"),
    (["--mean", "0.5,0.4,0.3"], "mean", (0.5, 0.4, 0.3)),
    (["--std", "0.2"], "std", (0.2,)),
    (["--scale", "1"], "scale", 1.0),
    (["--layout", "NHWC"], "layout", "NHWC"),
    (["--image-size", "64"], "image_size", 64),
    (["--epochs", "3"], "epochs", 3.0),
    (["--time-budget", "20m"], "time_budget", 1200.0),
    (["--rounds", "2"], "rounds", 2),
    (["--learning-rate", "0.1"], "train.learning_rate", 0.1),
    (["--batch-size", "64"], "train.batch_size", 64),
    (["--distill-weight", "0.1"], "train.distill_weight", 0.1),
    (["--search", "dp"], "search.method", "dp"),
    (["--evaluations", "9"], "search.evaluations", 9),
    (["--criterion", "magnitude"], "criterion", "magnitude"),
    (["--align", "8"], "align", 8),
    (["--columns-only"], "filters", False),
    (["--no-columns"], "columns.enabled", False),
    (["--columns"], "columns.enabled", True),
    (["--column-pattern", "kernel"], "columns.pattern", "kernel"),
    (["--column-multiple", "4"], "columns.multiple", 4),
    (["--runtime", "ort"], "runtime", "ort"),
    (["--threads", "2"], "threads", 2),
    (["--no-timing"], "timing", False),
    (["--seed", "7"], "seed", 7),
    (["--seed", "7"], "train.seed", 7),
    (["-o", "there"], "output", Path("there")),
    (["--set", "admm.updates=3"], "admm.updates", 3),
    (["--set", "admm_share=0.2"], "admm_share", 0.2),
    (["--set", "purify=false"], "purify", False),
    (["--set", "search.recalibrate=0"], "search.recalibrate", 0),
    (["--set", "retrain_share=0.5"], "retrain_share", 0.5),
]


@pytest.mark.parametrize(("words", "path", "value"), OPTIONS, ids=lambda p: str(p))
def test_every_option_reaches_the_driver(driver, words, path, value):
    assert run(["compress", "m.onnx", "--target-rate", "8x"]) == 0
    assert run(["compress", "m.onnx", "--target-rate", "8x", *words]) == 0
    without, found = driver.given
    for name in path.split("."):
        without, found = getattr(without, name), getattr(found, name)
    assert found == value
    assert without != value


def test_resume_takes_the_options_of_the_run(driver, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    first = make_config({"model": "m.onnx", "target_rate": "8x", "output": tmp_path, "seed": 3})
    checkpoints.start(first, {}, Model(gs.Graph()))
    assert run(["compress", "--resume", str(tmp_path), "--threads", "2"]) == 0
    (second,) = driver.given
    assert (second.resume, second.output) == (tmp_path, tmp_path)
    assert (second.seed, second.threads, second.target_rate) == (3, 2, Rate(8.0))


def test_model_and_rate_may_come_from_a_file(driver, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("model: from-file.onnx\ntarget_rate: 30x\n")
    assert run(["compress", "--config", str(file)]) == 0
    assert run(["compress", "mine.onnx", "--config", str(file)]) == 0
    assert [c.model for c in driver.given] == ["from-file.onnx", "mine.onnx"]
    assert driver.given[0].target_rate == Rate(30.0)


def test_text_goes_to_stdout_and_progress_to_stderr(driver, capfd):
    assert run(["compress", "m.onnx", "--target-rate", "8x"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("target met: 8.07x fewer params (asked for 8x)")
    assert "written to out:" in out
    assert err.splitlines() == [
        "baseline: 92.58 %",
        "round 1: 10 steps, loss 0.5000, 1,000 images/s",
    ]


def test_quiet_says_the_result_and_nothing_else(driver, capfd):
    assert run(["-q", "compress", "m.onnx", "--target-rate", "8x"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith("target met: 8.07x fewer params (asked for 8x)")
    assert len(out.splitlines()) == 1
    assert run(["-q", "compress", "m.onnx", "--target-rate", "8x", "--format", "json"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert json.loads(out)["schema"] == 1


def test_quiet_ends_with_its_command(driver, capfd):
    assert run(["-q", "demo"]) == 0
    assert run(["demo"]) == 0
    assert "baseline" in capfd.readouterr().err


def test_json_is_the_report_and_nothing_else(driver, capfd):
    assert run(["compress", "m.onnx", "--target-rate", "8x", "--format", "json"]) == 0
    assert json.loads(capfd.readouterr().out)["rate"]["params"] == pytest.approx(8.075, abs=1e-3)


@pytest.mark.parametrize(
    ("part", "update", "code"),
    [
        ("target", {"met": False}, 3),
        ("target", {"drop_met": False}, 3),
        ("verify", {"passed": False}, 1),
    ],
)
def test_exit_code_is_that_of_the_report(driver, capfd, part, update, code):
    changed = getattr(driver.report, part).model_copy(update=update)
    driver.report = driver.report.model_copy(update={part: changed})
    assert run(["compress", "m.onnx", "--target-rate", "8x"]) == code
    assert capfd.readouterr().out


def test_an_interrupt_exits_with_130(monkeypatch, capfd):
    def compress(config, progress, status, begin, passes=None, functions=None):
        raise KeyboardInterrupt

    monkeypatch.setattr("acgraph.driver.compress.compress", compress)
    assert run(["compress", "m.onnx", "--target-rate", "8x"]) == 130
    assert "interrupted" in capfd.readouterr().err


def test_demo_uses_the_embedded_model_and_data(driver):
    assert run(["demo"]) == 0
    assert run(["demo", "--target-rate", "4x", "--seed", "3", "--threads", "1", "-o", "x"]) == 0
    first, second = driver.given
    assert Path(first.model).name == "model.onnx"
    assert first.data.startswith("acgraph.models.demo:")
    assert first.eval_data.startswith("acgraph.models.demo:")
    assert first.data != first.eval_data
    assert (second.target_rate, second.seed, second.threads) == (Rate(4.0), 3, 1)
    assert second.output == Path("x")


def test_passes_are_watched_as_those_of_opt_are(driver, capfd):
    words = ["compress", "m.onnx", "--target-rate", "8x"]
    assert run([*words, "--print-ir-after", "fuse-batchnorm", "--verify-each"]) == 0
    assert driver.passes.verify_each
    (printer,) = driver.passes.instruments
    assert printer.when == "fuse-batchnorm"
    assert run([*words, "--time-passes"]) == 0
    assert not driver.passes.instruments
    assert "total" in capfd.readouterr().err
    assert run([*words, "--print-ir-after", "fuse-nothing"]) == 2
    assert "the pipeline has no pass 'fuse-nothing'" in capfd.readouterr().err
