"""Choose by timing the candidates, each as a model of one layer; times are remembered on disk.

ONNX Runtime is not imported here: what takes the time is given (``backends/ort/layer_timing``).
"""

import hashlib
import json
import logging
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from acgraph.errors import OutputError
from acgraph.ir import Model, write_bytes
from acgraph.lowering.base import Candidate
from acgraph.lowering.cost_model import CostModel, Metric, best
from acgraph.lowering.fragment import Fragment, Index, Weights
from acgraph.lowering.rewrite import fragment_model

log = logging.getLogger(__name__)

#: Times in milliseconds of models, in their order.
Timer = Callable[[list[Model]], list[float]]

#: A candidate estimated to be this many times slower than the best estimate is not timed.
SHORTLIST = 2.0
#: A form must be measured at least this much faster than dense, because medians are noisy too.
MARGIN = 0.02


def cache_folder() -> Path:
    """Where times are remembered: ``$ACGRAPH_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("ACGRAPH_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("acgraph"))


def host_name() -> str:
    """What tells one machine from another: times of one do not hold for the other."""
    return "|".join([platform.node(), platform.machine(), platform.processor(), platform.system()])


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingChooser:
    """Choose the fastest measured form, or the smallest that is not measured slower than dense.

    Attributes:
        time: Times models against each other, in milliseconds.
        runtime: What else the times depend on: the runtime, its version and its settings.
        cache_dir: Where they are remembered.
        metric: What to make small.
        estimate: Sorts out what is not worth timing.
    """

    time: Timer
    runtime: str
    cache_dir: Path = field(default_factory=cache_folder)
    metric: Metric = "latency"
    estimate: CostModel = field(default_factory=CostModel)

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Return the best candidate; the first, dense one where nothing is measured better."""
        chosen = self._shortlist(candidates)
        return best(chosen, self.latencies(chosen), self.metric, margin=MARGIN)

    def fastest_ms(self, candidates: Sequence[Candidate]) -> float:
        """Milliseconds of the fastest of the candidates."""
        return min(self.latencies(self._shortlist(candidates)))

    def latencies(self, candidates: Sequence[Candidate]) -> list[float]:
        """Times of the candidates in milliseconds, remembered ones where there are."""
        path = self.cache_dir / "lowering" / f"{signature(candidates, self.runtime)}.json"
        known = _read(path, len(candidates))
        if known is not None:
            return known
        models = [fragment_model(c.fragment, c.label, activation=True) for c in candidates]
        measured = self.time(models)
        _write(path, candidates, measured)
        return measured

    def _shortlist(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The dense layer, and what the estimate does not rule out."""
        estimates = [self.estimate.latency_us(candidate.fragment) for candidate in candidates]
        limit = SHORTLIST * min(estimates)
        return [
            candidate
            for number, (candidate, estimated) in enumerate(zip(candidates, estimates, strict=True))
            if number == 0 or estimated <= limit
        ]


def signature(candidates: Sequence[Candidate], runtime: str) -> str:
    """A name for what was timed: every node and every size, but not the weights themselves.

    Integer constants take part, because they are the pattern of the kept columns.
    """
    digest = hashlib.sha256()
    for name in (runtime, host_name()):
        digest.update(name.encode() + b"\0")
    for candidate in candidates:
        for part in _described(candidate.fragment):
            digest.update(part + b"\0")
        digest.update(b"\1")
    return digest.hexdigest()[:40]


def _described(fragment: Fragment) -> Iterator[bytes]:
    yield f"{fragment.input_shape} {fragment.dtype} {fragment.opset}".encode()
    for step in fragment.steps:
        yield f"{step.op} {sorted(step.attrs.items())}".encode()
        for operand in step.operands:
            if isinstance(operand, Index):
                yield b"".join([str(operand.key[:2]).encode(), operand.key[2]])
            elif isinstance(operand, Weights):
                yield str(operand.values.shape).encode()
            else:
                yield operand.encode()


def _read(path: Path, count: int) -> list[float] | None:
    try:
        times = json.loads(path.read_text(encoding="utf-8"))["latency_ms"]
        known = [float(value) for value in times]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s is not usable (%s): measuring again", path, error)
        return None
    return known if len(known) == count else None


def _write(path: Path, candidates: Sequence[Candidate], measured: Sequence[float]) -> None:
    content = {
        "labels": [candidate.label for candidate in candidates],
        "latency_ms": list(measured),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(json.dumps(content).encode(), path)
    except (OSError, OutputError) as error:
        log.warning("times are not remembered: %s", error)
