"""A dry run says what a run would do, and leaves no trace."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from acgraph.cli.main import run
from acgraph.config import CompressConfig
from acgraph.config_merge import options_text
from acgraph.driver.dry_run import dry_run
from acgraph.errors import UsageError
from acgraph.report import LayerChange
from acgraph.report.forecast import Forecast

Configure = Callable[..., CompressConfig]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of the user."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ACGRAPH_CACHE", str(folder))
    return folder


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    configure: Configure, cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = configure(timing=True, target_rate="6x")
    file = tmp_path / "options.json"
    file.write_text(options_text(config, is_json=True))
    assert run(["compress", "--config", str(file), "--dry-run", "--format", "json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert os.environ["ACGRAPH_CACHE"] == str(cache)
    assert list(tmp_path.iterdir()) == [file]
    assert (found["schema"], found["target_rate"], found["output"]) == (1, 6.0, str(config.output))
    assert found["schedule"]["rates"] == [6.0]
    assert found["schedule"]["round_epochs"] + found["schedule"]["fine_tuning_epochs"] == 1
    assert found["time"]["train_s"] > 0
    assert found["memory_bytes"] > 2**20
    assert found["rate"]["params"] >= 5.9
    assert found["before"]["params"] / found["after"]["params"] == found["rate"]["params"]
    assert found["after"]["accuracy"] is None
    cut = {layer["name"]: layer["columns"] for layer in found["layers"]}
    assert any(after < before for before, after in cut.values())
    assert set(found["layers"][0]) == set(LayerChange.model_fields)


def test_the_text_names_the_plan_and_every_layer(
    configure: Configure, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """What is printed is what the dry run found, which takes the plan of a run."""
    config = configure()
    forecast = dry_run(config)
    monkeypatch.setattr("acgraph.driver.dry_run.dry_run", lambda *_: forecast)
    words = ["compress", config.model, "--target-rate", "3x", "--dry-run"]
    assert run(words) == 0
    out = capfd.readouterr().out
    assert f"plan: {forecast.schedule.text}\n" in out
    assert "memory: at most about" in out
    assert all(f"\n{layer.name} " in out for layer in forecast.layers)
    assert out.endswith(f"nothing was written; the run would write to {config.output}\n")
    assert forecast.time is None  # nothing is timed
    assert Forecast.model_validate_json(forecast.to_json()) == forecast
    assert not config.output.exists()


def test_what_a_run_would_refuse_is_refused(
    configure: Configure, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="a dry run cannot be resumed"):
        dry_run(configure().model_copy(update={"resume": tmp_path}))
    data = tmp_path / "data"
    data.mkdir()
    config = configure()
    (data / "model.onnx").write_bytes(Path(config.model).read_bytes())
    inside = config.model_copy(update={"output": data, "model": str(data / "model.onnx")})
    with pytest.raises(UsageError, match="would be overwritten by the results"):
        dry_run(inside)
    assert [path.name for path in data.iterdir()] == ["model.onnx"]
