"""Choose by timing the candidates, each as a model of one layer; times are cached on disk.

ONNX Runtime is not imported here: the caller passes the timer (``backends/ort/layer_timing``).
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

#: Returns the latency of each model in milliseconds, in the order of the models.
Timer = Callable[[list[Model]], list[float]]

#: A candidate estimated to be this many times slower than the best estimate is not timed.
SHORTLIST = 2.0
#: Share by which a form must be faster than dense: medians are noisy, too.
MARGIN = 0.02


#: Environment variable that names the cache folder.
CACHE_VARIABLE = "ACGRAPH_CACHE"


def cache_folder() -> Path:
    """Return the cache folder: ``$ACGRAPH_CACHE``, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("acgraph"))


def host_name() -> str:
    """Return a text that identifies the machine: times do not carry over to another one."""
    return "|".join([platform.node(), platform.machine(), platform.processor(), platform.system()])


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingChooser:
    """Choose the fastest measured form, or the smallest that is not measured slower than dense.

    Attributes:
        time: Times models in alternation, in milliseconds.
        runtime: Identifies the runtime, its version and its settings; part of the cache key.
        cache_dir: Folder of the cached times.
        metric: The quantity to minimise.
        estimate: Cost model that excludes clearly slower candidates before timing.
    """

    time: Timer
    runtime: str
    cache_dir: Path = field(default_factory=cache_folder)
    metric: Metric = "latency"
    estimate: CostModel = field(default_factory=CostModel)

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Return the best candidate; the first, dense one where none is measured better."""
        chosen = self._shortlist(candidates)
        return best(chosen, self.latencies(chosen), self.metric, margin=MARGIN)

    def fastest_ms(self, candidates: Sequence[Candidate]) -> float:
        """Return the latency of the fastest candidate in milliseconds."""
        return min(self.latencies(self._shortlist(candidates)))

    def known_ms(self, candidates: Sequence[Candidate]) -> list[float | None]:
        """Return the cached times in milliseconds; None for candidates that were not timed."""
        timed = self._shortlist(candidates)
        path = self._file(timed)
        times = _read(path, len(timed))
        if times is None:
            return [None] * len(candidates)
        found = {id(candidate): ms for candidate, ms in zip(timed, times, strict=True)}
        return [found.get(id(candidate)) for candidate in candidates]

    def latencies(self, candidates: Sequence[Candidate]) -> list[float]:
        """Return the times of the candidates in milliseconds, from the cache where possible."""
        path = self._file(candidates)
        known = _read(path, len(candidates))
        if known is not None:
            return known
        models = [fragment_model(c.fragment, c.label, activation=True) for c in candidates]
        measured = self.time(models)
        _write(path, candidates, measured)
        return measured

    def _file(self, candidates: Sequence[Candidate]) -> Path:
        return self.cache_dir / "lowering" / f"{signature(candidates, self.runtime)}.json"

    def _shortlist(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the dense layer and the candidates that the estimate does not exclude."""
        estimates = [self.estimate.latency_us(candidate.fragment) for candidate in candidates]
        limit = SHORTLIST * min(estimates)
        return [
            candidate
            for number, (candidate, estimated) in enumerate(zip(candidates, estimates, strict=True))
            if number == 0 or estimated <= limit
        ]


def signature(candidates: Sequence[Candidate], runtime: str) -> str:
    """Return the cache key of timed candidates: a digest of every node and size.

    Integer constants are part of it, because they hold the pattern of the kept columns. The values
    of weights are not.
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
        log.warning("cannot read the cached times in %s (%s): measuring again", path, error)
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
        log.warning("cannot cache the measured times: %s", error)
