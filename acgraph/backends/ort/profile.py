"""Where the time of one model goes, operator by operator, from ONNX Runtime's own profiler."""

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
    """Time of one node of the graph that ONNX Runtime really runs, after its optimisations.

    Attributes:
        name: Name of the node; fused nodes have a name that ONNX Runtime made up.
        op_type: Its operator, ``FusedConv`` for instance.
        p50_ms: Median milliseconds of one run of the model.
        share: Part of the sum over all nodes, from 0 to 1.
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
    """Run a model under the profiler; return its operators, the slowest first.

    Recording makes every operator a few microseconds slower: use the shares, not the sum.
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
    # A node inside a loop is recorded many times in one run.
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
