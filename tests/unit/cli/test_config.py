import dataclasses
import json

import pytest

from acgraph.admm.config import AdmmConfig
from acgraph.backends.training import TrainConfig
from acgraph.config import CompressConfig
from acgraph.config_fields import parse_duration, parse_layer_rates
from acgraph.config_merge import make_config
from acgraph.errors import UsageError
from acgraph.pruning.rate import Rate

BASE = {"model": "m.onnx", "target_rate": "8x"}


def test_defaults_are_those_of_the_parts():
    config = make_config(BASE)
    assert config.target_rate == Rate(8.0)
    assert (config.metric, config.seed, config.timing) == ("params", 0, True)
    assert config.train == TrainConfig()
    assert config.admm == AdmmConfig()
    assert config.max_drop is None


def test_the_command_line_wins_over_settings_over_the_file(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(
        "target_rate: 2x\nmetric: macs\nseed: 1\ntrain: {learning_rate: 0.5, batch_size: 8}\n"
        "search: {method: dp}\n"
    )
    config = make_config(
        {"model": "m", "target_rate": "4x", "train": {"batch_size": 16}, "metric": None},
        file=file,
        settings=("seed=2", "train.batch_size=12", "search.evaluations=5"),
    )
    assert config.target_rate == Rate(4.0)
    assert (config.metric, config.seed) == ("macs", 2)
    assert (config.train.learning_rate, config.train.batch_size) == (0.5, 16)
    assert (config.search.method, config.search.evaluations) == ("dp", 5)


def test_seed_and_threads_reach_training():
    config = make_config({**BASE, "seed": 5, "threads": 2})
    assert (config.train.seed, config.train.threads) == (5, 2)


@pytest.mark.parametrize(("asked", "kept"), [("8x", "8x"), ("2.3456x", "2.3456x")])
def test_the_rate_that_was_asked_for_is_kept_whole(asked, kept):
    config = make_config(BASE | {"target_rate": asked})
    assert json.loads(config.model_dump_json())["target_rate"] == kept


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("20m", 1200), ("1h30m", 5400), ("1.5h", 5400)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds
    assert make_config({**BASE, "time_budget": text}).time_budget == seconds


@pytest.mark.parametrize("text", ["", "m", "20 minutes", "-5s", "0", "5s3m"])
def test_wrong_durations(text):
    with pytest.raises(UsageError):
        parse_duration(text)


def test_numbers_may_be_one_or_many():
    config = make_config({**BASE, "mean": "0.5,0.4,0.3", "std": 0.2})
    assert config.mean == (0.5, 0.4, 0.3)
    assert config.std == (0.2,)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("target_rat", "did you mean 'target_rate'?"),
        ("learning_rate", "did you mean 'train.learning_rate'?"),
        ("train.lerning_rate", "did you mean 'train.learning_rate'?"),
        ("search.anneal.gidance", "did you mean 'search.anneal.guidance'?"),
        ("train.seed", "set 'seed' at the top level"),
        ("train.threads", "set 'threads' at the top level"),
        ("qqq", "known: admm,"),
    ],
)
def test_unknown_keys_are_answered_with_the_nearest(key, hint):
    with pytest.raises(UsageError) as caught:
        make_config(BASE, settings=(f"{key}=1",))
    assert str(caught.value).startswith(f"no option is named '{key}'; ")
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "flops"}, "metric: input should be 'params'"),
        ({"max_drop": -1}, "max_drop: input should be greater than or equal to 0, not -1"),
        ({"max_drop": float("nan")}, "max_drop: "),
        ({"epochs": float("inf")}, "epochs: must be a finite number"),
        ({"rounds": 0}, "rounds: input should be greater than or equal to 1"),
        ({"align": 0}, "align: "),
        ({"seed": -1}, "seed is -1"),
        ({"threads": 0}, "threads"),
        ({"scale": 0}, "scale: "),
        ({"epochs": 1, "time_budget": "5m"}, "both a number of epochs and a time budget"),
        ({"metric": "latency", "timing": False}, "the target is a latency"),
        ({"train": {"learning_rate": -1}}, "learning_rate is -1"),
        ({"admm": {"rho": 0}}, "rho must be positive"),
        ({"search": {"method": "luck"}}, "search.method: "),
        ({"search": {"anneal": {"guidance": 2}}}, "annealing: the guidance"),
        ({"train": 3}, "train is a section"),
        ({"target_rate": "0.5x"}, "at least 1"),
    ],
)
def test_wrong_values_are_one_line(options, message):
    with pytest.raises(UsageError) as caught:
        make_config({**BASE, **options})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "just words"])
def test_files_that_are_no_mapping(tmp_path, text):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"c\.yaml: is not"):
        make_config(BASE, file=file)


def test_missing_file(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        make_config(BASE, file=tmp_path / "none.yaml")


@pytest.mark.parametrize("setting", ["seed", "=3", "seed=[1"])
def test_settings_must_be_key_and_value(setting):
    with pytest.raises(UsageError, match="--set"):
        make_config(BASE, settings=(setting,))


def test_a_written_configuration_reads_back():
    config = make_config({**BASE, "time_budget": "20m", "mean": 0.5, "max_drop": 1})
    assert CompressConfig.model_validate_json(config.model_dump_json()) == config


def test_every_option_of_training_can_be_set():
    other = {"learning_rate": 0.3, "optimizer": "adam", "flip": False, "device": "cpu"}
    known = {f.name for f in dataclasses.fields(TrainConfig)}
    assert set(other) <= known
    settings = tuple(f"train.{key}={str(value).lower()}" for key, value in other.items())
    train = make_config(BASE, settings=settings).train
    assert {key: getattr(train, key) for key in other} == other


def test_without_timing_no_mode_of_training_is_timed():
    untimed = make_config({**BASE, "timing": False}).train
    assert (untimed.precision, untimed.channels_last) == ("fp32", False)
    stated = make_config({**BASE, "timing": False}, settings=("train.precision=bf16",)).train
    assert (stated.precision, stated.channels_last) == ("bf16", False)
    assert make_config(BASE).train.precision == "auto"


def test_a_plain_rate_may_stand_behind_a_space() -> None:
    assert parse_layer_rates([" 4x"]) == ({}, Rate(4.0))
    with pytest.raises(UsageError, match="'conv' is not a rate"):
        parse_layer_rates(["conv"])
