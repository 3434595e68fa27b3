from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acgraph.admm import AdmmConfig, AdmmState
from acgraph.errors import DataError, OutputError, UsageError


def state() -> AdmmState:
    rng = np.random.default_rng(0)
    names = ["/layer1/Conv::weight", "file", "ünïcode name", "w/../x"]
    w, z, u = ({n: rng.normal(size=(2, 3)).astype(np.float32) for n in names} for _ in range(3))
    return AdmmState(w=w, z=z, u=u, update=7, rho=0.125)


def test_round_trip_keeps_all_names_values_and_types(tmp_path: Path) -> None:
    before = state()
    before.save(tmp_path / "state.npz")
    after = AdmmState.load(tmp_path / "state.npz")
    assert (after.update, after.rho) == (7, 0.125)
    for old, new in ((before.w, after.w), (before.z, after.z), (before.u, after.u)):
        assert list(new) == list(old)
        for name in old:
            assert new[name].dtype == old[name].dtype
            assert (new[name] == old[name]).all()


def test_saving_leaves_no_partial_file(tmp_path: Path) -> None:
    state().save(tmp_path / "state.npz")
    state().save(tmp_path / "state.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


def test_an_unwritable_place_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        state().save(tmp_path / "missing" / "state.npz")


@pytest.mark.parametrize("content", [None, b"", b"not a zip", b"PK\x03\x04 truncated"])
def test_anything_else_is_a_data_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "state.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="not a saved ADMM state"):
        AdmmState.load(path)


def test_another_npz_is_a_data_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="not a saved ADMM state"):
        AdmmState.load(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 0.0}, "rho must be positive"),
        ({"rho": float("nan")}, "rho must be positive"),
        ({"rho_growth": 0.9}, "rho growth must be at least 1"),
        ({"rho": 1.0, "rho_max": 0.5}, "rho_max must be at least rho"),
        ({"updates": 0}, "at least 1 update"),
        ({"tolerance": -1.0}, "must be at least 0"),
    ],
)
def test_impossible_schedules_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AdmmConfig(**options)


def test_rho_follows_its_schedule() -> None:
    config = AdmmConfig(rho=1e-3, rho_growth=1.3, rho_max=1.5e-3)
    assert [config.rho_at(update) for update in range(3)] == pytest.approx([1e-3, 1.3e-3, 1.5e-3])
