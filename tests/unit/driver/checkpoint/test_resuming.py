"""A resumed run calls no code that only its checkpoints name."""

import json

import pytest

from acgraph.cli.main import run
from acgraph.config_merge import make_config
from acgraph.driver.checkpoint.checkpoints import stored_options
from acgraph.driver.checkpoint.resuming import resume_command
from acgraph.driver.checkpoint.state_file import write_state
from acgraph.errors import UsageError


def stored(folder, **options):
    config = make_config({"model": "m.onnx", "target_rate": "2x", "output": folder, **options})
    (folder / "checkpoints").mkdir(parents=True)
    write_state(folder / "checkpoints", {"config": json.loads(config.model_dump_json())})
    return config


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": "evil:make"}, "--data evil:make"),
        ({"eval_data": "evil:make"}, "--eval-data evil:make"),
        ({"search": {"cluster": "tcp://far:1"}}, "--set search.cluster=tcp://far:1"),
    ],
)
def test_code_must_be_named_again(tmp_path, options, words):
    config = stored(tmp_path / "out", **options)
    with pytest.raises(UsageError, match=words):
        make_config({"resume": config.output}, stored=stored_options)
    again = make_config({"resume": config.output, **options}, stored=stored_options)
    assert (again.data, again.eval_data) == (config.data, config.eval_data)
    assert resume_command(config) == f"acgraph compress --resume {config.output} {words}"


def test_no_code_is_run_before_the_run_is_refused(tmp_path, monkeypatch, capsys):
    stored(tmp_path / "out", data="marking:make")
    (tmp_path / "marking.py").write_text("open('marked', 'w')\ndef make(): pass\n")
    monkeypatch.chdir(tmp_path)
    resume = ["compress", "--resume", "out"]
    assert run(resume) == 2
    assert run([*resume, "--data", "marking:make", "--seed", "1"]) == 2
    assert "seed 0, not 1" in capsys.readouterr().err
    assert not (tmp_path / "marked").exists()


def test_own_and_plain_data_need_no_name(tmp_path):
    config = stored(tmp_path / "out", data="acgraph.models.demo:train", eval_data="noise:9")
    again = make_config({"resume": config.output}, stored=stored_options)
    assert again.data == config.data
    assert resume_command(config) == f"acgraph compress --resume {config.output}"
