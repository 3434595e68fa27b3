"""Results are those of one run: all old, all new, or none that a report speaks of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.results.folder import RESULTS, put_in_place, staged
from acgraph.driver.stages import export as export_module
from acgraph.driver.stages import measure as measure_module
from acgraph.report import Report

Configure = Callable[..., CompressConfig]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_run_that_dies_while_it_writes_leaves_the_old_results(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(epochs=0, target_rate="1.5x")
    compress(config)
    again = config.model_copy(update={"resume": config.output})
    names = set(_files(config.output))
    assert {"model.onnx", "report.json"} <= names
    for name in names:
        (config.output / name).write_bytes(b"old")

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for module, step in ((export_module, "write_ort"), (measure_module, "write_report")):
        with monkeypatch.context() as patch:
            patch.setattr(module, step, die)
            with pytest.raises(KeyboardInterrupt):
                compress(again)
        assert _files(config.output) == dict.fromkeys(names, b"old")
    report = compress(again)
    new = _files(config.output)
    assert set(new) == names
    assert b"old" not in new.values()
    assert Report.model_validate_json(new["report.json"]) == report
    assert report.after.bytes == len(new["model.onnx"])


def test_a_file_that_the_new_results_lack_goes(tmp_path: Path) -> None:
    for name in RESULTS:
        (tmp_path / name).write_text("old")
    (tmp_path / "mine.txt").write_text("kept")
    with staged(tmp_path) as folder:
        (folder / "model.onnx").write_text("new")
        (folder / "report.json").write_text("new")
        put_in_place(folder, tmp_path)
    found = {name: text.decode() for name, text in _files(tmp_path).items()}
    assert found == {"model.onnx": "new", "report.json": "new", "mine.txt": "kept"}
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("allowed", range(4))
def test_no_report_stands_beside_results_of_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    names = ("model.onnx", "masked.onnx", "report.json")
    for name in names:
        (tmp_path / name).write_text("old")
    calls = [0]
    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        calls[0] += 1
        if calls[0] > allowed:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    try:
        with staged(tmp_path) as folder:
            for name in names:
                (folder / name).write_text("new")
            put_in_place(folder, tmp_path)
    except KeyboardInterrupt:
        assert not (tmp_path / "report.json").exists()
        assert set(_files(tmp_path)) == {"model.onnx", "masked.onnx"}  # the old ones, or the new
    else:
        assert allowed == len(names)
        assert set(_files(tmp_path).values()) == {b"new"}


def test_what_an_interrupted_run_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".results").mkdir()
    (tmp_path / ".results" / "junk").write_text("")
    with staged(tmp_path) as folder:
        assert not list(folder.iterdir())
    assert not list(tmp_path.iterdir())
