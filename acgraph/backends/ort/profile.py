"""Measure the time of every operator of a model with ONNX Runtime's profiler."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.session import ModelSource, Session, SessionSettings
from acgraph.ir import Array

_SUFFIX = "_kernel_time"
_WARMUP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """Time of one node of the graph after ONNX Runtime's optimisations.

    Attributes:
        name: Name of the node; ONNX Runtime generates names for fused nodes.
        op_type: Operator of the node, for instance ``FusedConv``.
        p50_ms: Median milliseconds in one run of the model.
        share: Share of the total time of all nodes, from 0 to 1.
    """

    name: str
    op_type: str
    p50_ms: float
    share: float


def profile_operators(
    model: ModelSource,
    settings: SessionSettings | None = None,
    *,
    runs: int = 20,
    feeds: Mapping[str, Array] | None = None,
) -> list[OperatorTime]:
    """Run a model with the profiler; return its operators, the slowest first.

    Recording adds a few microseconds to every operator, so that the shares are more reliable than
    the sum.

    Args:
        model: The model.
        settings: Settings of the session.
        runs: Number of runs after warm-up.
        feeds: Inputs by name; None makes random ones.

    Raises:
        BackendError: The model cannot be loaded or run.
    """
    session = Session(model, replace(settings or SessionSettings(), profile=True))
    values = feeds or random_inputs(session)
    for _ in range(_WARMUP + runs):
        session.run(values)
    return _operators(json.loads(session.end_profiling()), runs)


def _operators(events: list[dict[str, object]], runs: int) -> list[OperatorTime]:
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_SUFFIX):
            arguments = event.get("args")
            op_type = str(arguments.get("op_name", "")) if isinstance(arguments, dict) else ""
            times[name.removesuffix(_SUFFIX), op_type].append(float(str(event["dur"])) / 1e3)
    # A node inside a loop is recorded several times per run.
    per_run = {
        key: float(np.median(found[-runs:])) * max(1.0, len(found) / (runs + _WARMUP))
        for key, found in times.items()
    }
    total = sum(per_run.values()) or 1.0
    table = [
        OperatorTime(name=name, op_type=op_type, p50_ms=ms, share=ms / total)
        for (name, op_type), ms in per_run.items()
    ]
    return sorted(table, key=lambda entry: -entry.p50_ms)
