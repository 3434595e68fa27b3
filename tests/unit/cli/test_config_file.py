"""The file of options: errors name the file and the line."""

from itertools import pairwise

import pytest

from acgraph.cli.main import run
from acgraph.config_merge import make_config
from acgraph.errors import UsageError
from acgraph.pruning.rate import Rate


def reject(tmp_path, text, *words, settings=()):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        make_config({"model": "m.onnx", "target_rate": "2x"}, file=file, settings=settings)
    found = str(caught.value)
    assert "\n" not in found
    for word in words:
        assert word in found
    return found


def test_unknown_keys_name_file_and_line(tmp_path):
    text = "epochs: 1\ntrain:\n  learning_ratte: 1\n"
    reject(tmp_path, text, "c.yaml, line 3", "train.learning_ratte", "did you mean")


def test_invalid_values_name_file_and_line(tmp_path):
    reject(tmp_path, "seed: 1\nepochs: many\n", "c.yaml, line 2", "epochs")


def test_values_that_the_command_line_overrides_are_not_blamed_on_the_file(tmp_path):
    found = reject(tmp_path, "seed: 1\nepochs: 2\n", "epochs", settings=("epochs=many",))
    assert "line" not in found


@pytest.mark.parametrize(
    "text", ["seed: 1\nepochs: 2\nseed: 3\n", "train: {batch_size: 1, batch_size: 2}\n"]
)
def test_duplicate_keys_are_refused(tmp_path, text):
    reject(tmp_path, text, "given twice", "line")


@pytest.mark.parametrize(
    "text",
    [
        "train: " + "[" * 5000,
        "train: " + "{a: " * 3000 + "1" + "}" * 3000,
        "epochs: 2024-13-45",
        "epochs: " + "9" * 5000,
        "? [a, b]\n: 1\n",
        "1: 2\n",
        "a: &a [*a]\n",
        "k: 1\n" * 100_000,
        "- 1\n",
        "",
        "\0",
    ],
    ids=lambda text: text[:8],
)
def test_deep_huge_and_odd_files_are_refused(tmp_path, text):
    reject(tmp_path, text)


def test_aliases_do_not_multiply(tmp_path):
    names = "abcdefghijklmnopqrst"
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"{n}: &{n} [{', '.join(['*' + m] * 10)}]" for m, n in pairwise(names)]
    reject(tmp_path, "\n".join(lines), "'a'", "line 1")


@pytest.mark.parametrize(
    "setting",
    [
        "resume=1",
        "epochs=2024-13-45",
        "epochs=" + "[" * 5000,
        "a." * 3000 + "b=1",
        'resume="a\\0b"',
    ],
    ids=lambda text: text[:8],
)
def test_odd_settings_are_refused(setting):
    with pytest.raises(UsageError) as caught:
        make_config({"model": "m.onnx", "target_rate": "2x"}, settings=(setting,))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_printed_options_make_the_same_run(tmp_path, capsys, form):
    words = ["compress", "m.onnx", "--target-rate", "3.25x", "--time-budget", "20m", "--seed", "7"]
    words += [
        "--keep",
        "head*",
        "--layer-rate",
        "c*=2x",
        "--columns",
        "--set",
        "train.momentum=0.8",
    ]
    words += ["--input-shape", "x:1,3,8,8", "--threads", "2"]
    assert run([*words, "--print-config", "--format", form]) == 0
    file = tmp_path / "c.yaml"
    file.write_text(capsys.readouterr().out)
    assert run(["compress", "--config", str(file), "--print-config", "--format", form]) == 0
    assert capsys.readouterr().out == file.read_text()
    config = make_config({}, file=file)
    assert (config.seed, config.train.seed, config.time_budget) == (7, 7, 1200)
    assert (config.train.momentum, config.layer_rate["c*"]) == (0.8, Rate(2.0))
