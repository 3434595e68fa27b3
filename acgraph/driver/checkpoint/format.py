"""The serialised form of a state: JSON and arrays.

The network is stored as ONNX beside the JSON, positions as ``.npz``.
"""

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from acgraph.driver.network import Network
from acgraph.driver.schedule.plan import Pace, RunSchedule
from acgraph.driver.state.positions import Positions
from acgraph.driver.state.records import (
    AdmmRecord,
    FitRecord,
    Mode,
    PassRecord,
    RateRecord,
    Rehearsal,
    RoundRecord,
    SearchRecord,
)
from acgraph.driver.state.state import State
from acgraph.ir import write_bytes

#: Fields of a state that are stored unchanged as JSON values.
_PLAIN = ("inserted", "warnings", "aimed", "number", "is_exhausted", "stage", "checkpoint")
#: Fields that are one record, or None.
_SINGLE: Mapping[str, type] = {"mode": Mode, "pace": Pace, "rehearsal": Rehearsal}
#: Fields that are several records.
_SEVERAL: Mapping[str, type] = {
    "rounds": RoundRecord, "history": SearchRecord, "training": PassRecord,
    "frontier": RateRecord,
}  # fmt: skip


def to_json(state: State) -> dict[str, Any]:
    """Return a state as JSON values, without the networks and the positions."""
    found: dict[str, Any] = {name: _plain(getattr(state, name)) for name in _PLAIN}
    found["schedule"] = _plain(dataclasses.asdict(state.schedule))
    for name in _SINGLE:
        value = getattr(state, name)
        found[name] = None if value is None else _plain(dataclasses.asdict(value))
    for name in _SEVERAL:
        found[name] = [_plain(dataclasses.asdict(each)) for each in getattr(state, name)]
    return found


def from_json(
    content: Mapping[str, Any], network: Network, prepared: Network, positions: Positions
) -> State:
    """Make a state from what :func:`to_json` returned, and from what was stored separately."""
    values: dict[str, Any] = {name: _frozen(content[name]) for name in _PLAIN}
    for name, kind in _SINGLE.items():
        values[name] = None if content[name] is None else kind(**content[name])
    for name, kind in _SEVERAL.items():
        values[name] = tuple(kind(**_record(each)) for each in content[name])
    schedule = {name: _frozen(value) for name, value in content["schedule"].items()}
    return State(
        network=network,
        prepared=prepared,
        positions=positions,
        schedule=RunSchedule(**schedule),
        **values,
    )


def write_positions(positions: Positions, file: Path) -> None:
    """Write the original positions of constants atomically."""
    rows = [(name, axis) for name, axes in positions.items() for axis in axes]
    arrays: dict[str, Any] = {
        f"kept{k}": positions[name][axis] for k, (name, axis) in enumerate(rows)
    }
    buffer = io.BytesIO()
    np.savez(
        buffer,
        names=np.array([name for name, _ in rows], dtype=np.str_),
        axes=np.array([axis for _, axis in rows], dtype=np.int64),
        **arrays,
    )
    write_bytes(buffer.getvalue(), file)


def read_positions(file: Path) -> Positions:
    """Read what :func:`write_positions` wrote."""
    positions: Positions = {}
    with np.load(file, allow_pickle=False) as archive:
        names, axes = archive["names"].tolist(), archive["axes"].tolist()
        for k, (name, axis) in enumerate(zip(names, axes, strict=True)):
            positions.setdefault(name, {})[axis] = archive[f"kept{k}"]
    return positions


def _plain(value: Any) -> Any:
    """Convert tuples to lists, as in JSON."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _record(content: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(content)
    if "admm" in values:
        values["admm"] = tuple(AdmmRecord(**each) for each in values["admm"])
        values["fits"] = tuple(FitRecord(**each) for each in values["fits"])
    return values
