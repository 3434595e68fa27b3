"""Measure every lowering of pruned layers against the dense layer, and rewrite docs/lowering.md.

    python benchmarks/lowering.py [--nchwc] [--quick] [--doc docs/lowering.md]

For every layer shape and share of kept columns: random columns, the regular patterns, and whole
channels pruned to as many weights. One thread; all candidates of a case are timed by turns
and the tenth percentiles are compared, because what else the machine does only ever adds time.
The choice is made by one measurement and reported by another, so that luck does not choose.
Without ``--doc`` the tables are only printed.
"""

import argparse
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from acgraph.backends.ort.layer_timing import layer_timer
from acgraph.backends.ort.session import SessionSettings
from acgraph.lowering import DENSE, Candidate, ConvLayer, CostModelChooser, candidates
from acgraph.lowering.chooser import MARGIN
from acgraph.lowering.cost_model import best
from acgraph.lowering.rewrite import fragment_model
from acgraph.pruning.patterns import project_columns

#: (channels, filters, size): 3x3 kernels, pads 1, stride 1. The last six count as large.
SHAPES = [
    (16, 16, 32),
    (32, 32, 16),
    (64, 64, 8),
    (64, 64, 32),
    (64, 64, 56),
    (128, 128, 16),
    (256, 256, 8),
    (512, 512, 4),
    (512, 512, 7),
]
SMALL = SHAPES[:3]
SHARES = (0.5, 0.25, 0.1)
REGULAR = ("balanced", "contiguous", "kernel", "box")
PATTERNS = ("random", *REGULAR)
#: What each group of shapes is asked to reach at 50, 25 and 10 %.
TARGETS = {"large": (1.6, 2.9, 6.0), "small": (1.2, 1.9, 3.0)}
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"


@dataclass(frozen=True)
class Case:
    """One pruned layer and what was measured of it, in microseconds."""

    shape: tuple[int, int, int]
    pattern: str
    share: float
    labels: list[str]
    latencies_us: list[float]
    chosen: str
    estimated: str
    channels_us: float

    @property
    def dense_us(self) -> float:
        return self.latencies_us[0]

    @property
    def speed_up(self) -> float:
        """Of the measured choice, which may be the dense layer itself."""
        return self._speed_up(self.chosen)

    @property
    def estimated_speed_up(self) -> float:
        return self._speed_up(self.estimated)

    def _speed_up(self, label: str) -> float:
        return self.dense_us / self.latencies_us[self.labels.index(label)]

    @property
    def channels_speed_up(self) -> float:
        return self.dense_us / self.channels_us


def conv_layer(weight: np.ndarray, size: int) -> ConvLayer:
    return ConvLayer(
        name="conv",
        weight=weight,
        weight_name="w",
        bias=np.zeros(weight.shape[0], np.float32),
        bias_name="b",
        strides=(1, 1),
        dilations=(1, 1),
        pads=(1, 1, 1, 1),
        group=1,
        input_shape=(1, weight.shape[1], size, size),
        is_static=True,
        is_tied=False,
        opset=17,
    )


def pruned(shape: tuple[int, int, int], pattern: str, share: float) -> ConvLayer:
    channels, filters, size = shape
    rng = np.random.default_rng([*shape, round(share * 100)])
    weight = rng.standard_normal((filters, channels, 3, 3)).astype(np.float32)
    # Norms of random weights are nearly equal, so that the free projection is a random choice.
    name = "free" if pattern == "random" else pattern
    kept = project_columns(weight, round(share * channels * 9), name)
    return conv_layer(np.where(kept[None], weight, np.float32(0)), size)


def fewer_channels(shape: tuple[int, int, int], share: float) -> Candidate:
    """The layer with whole input channels removed, as a producer without them would feed it."""
    channels, filters, size = shape
    kept = max(1, round(share * channels))
    weight = np.random.default_rng(0).standard_normal((filters, kept, 3, 3)).astype(np.float32)
    return candidates(conv_layer(weight, size))[0]


def measure(settings: SessionSettings, budget_s: float, patterns: Sequence[str]) -> Iterator[Case]:
    time = layer_timer(settings, budget_s=budget_s)
    for shape in SHAPES:
        for pattern in patterns:
            for share in SHARES:
                ways = candidates(pruned(shape, pattern, share))
                timed = [*ways, fewer_channels(shape, share)]
                models = [fragment_model(way.fragment, activation=True) for way in timed]
                chosen = best(ways, time(models[:-1]), "latency", MARGIN)
                *latencies_ms, channels_ms = time(models)
                yield Case(
                    shape=shape,
                    pattern=pattern,
                    share=share,
                    labels=[way.label for way in ways],
                    latencies_us=[latency * 1e3 for latency in latencies_ms],
                    chosen=chosen.label,
                    estimated=CostModelChooser().choose(ways).label,
                    channels_us=channels_ms * 1e3,
                )


def summary(cases: Sequence[Case]) -> list[str]:
    """Medians over the large shapes, random; the best regular pattern on each small shape."""
    lines = ["| layers, columns | 50 % | 25 % | 10 % |", "|---|---|---|---|"]
    large = [_median(c.speed_up for c in _at(cases, "random", s, small=False)) for s in SHARES]
    guess = [
        _median(c.estimated_speed_up for c in _at(cases, "random", s, small=False)) for s in SHARES
    ]
    whole = [
        _median(c.channels_speed_up for c in _at(cases, "random", s, small=False)) for s in SHARES
    ]
    small = [_median(c.speed_up for c in _at(cases, "random", s, small=True)) for s in SHARES]
    lines.append(_row("six large, random, measured choice", large))
    lines.append(_row("six large, random, choice by estimate", guess))
    lines.append(_row("six large, whole channels, as many weights", whole))
    lines.append(_row("three small, random, measured choice", small))
    for pattern in REGULAR:
        for name, is_small in (("six large", False), ("three small", True)):
            found = [_at(cases, pattern, share, small=is_small) for share in SHARES]
            if all(found):
                medians = [_median(case.speed_up for case in group) for group in found]
                lines.append(_row(f"{name}, {pattern}, measured choice", medians))
    slowest = min(case.speed_up for case in cases)
    lines += ["", f"Smallest speed-up of a choice in {len(cases)} cases: {slowest:.2f}x."]
    return lines


def _at(cases: Sequence[Case], pattern: str, share: float, *, small: bool) -> list[Case]:
    return [
        case
        for case in cases
        if case.pattern == pattern and case.share == share and (case.shape in SMALL) == small
    ]


def _median(values: Iterator[float]) -> float:
    return float(np.median(list(values)))


def _row(name: str, values: Sequence[float]) -> str:
    return f"| {name} | " + " | ".join(f"{value:.2f}x" for value in values) + " |"


def table(cases: Sequence[Case]) -> list[str]:
    lines = [
        "| in, out, size | columns | kept | dense us | chosen | speed-up | all forms "
        "| by estimate | whole channels |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        others = ", ".join(
            f"{label} {case.dense_us / latency:.2f}"
            for label, latency in zip(case.labels, case.latencies_us, strict=True)
            if label != DENSE
        )
        channels, filters, size = case.shape
        lines.append(
            f"| {channels}, {filters}, {size}x{size} | {case.pattern} | {case.share:.0%} "
            f"| {case.dense_us:.0f} | {case.chosen} | {case.speed_up:.2f}x | {others} "
            f"| {case.estimated_speed_up:.2f}x | {case.channels_speed_up:.2f}x |"
        )
    return lines


def report(cases: Sequence[Case], nchwc: Sequence[Case]) -> str:
    lines = [
        f"ONNX Runtime {ort.__version__}, {platform.machine()}, one thread, tenth percentile "
        "of interleaved runs. Speed-up over the dense layer.",
        "",
        "### Without NCHWc, as on a phone",
        "",
        *summary(cases),
        "",
        *table(cases),
    ]
    if nchwc:
        lines += ["", "### With NCHWc, the default on x86", "", *summary(nchwc), "", *table(nchwc)]
    return "\n".join(lines)


def rewrite(path: Path, text: str) -> None:
    content = path.read_text(encoding="utf-8")
    head, rest = content.split(BEGIN)
    _, tail = rest.split(END)
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nchwc", action="store_true", help="measure random columns with it too")
    parser.add_argument("--quick", action="store_true", help="a fifth of the time for each form")
    parser.add_argument("--doc", type=Path, help="rewrite the tables in this file")
    options = parser.parse_args()
    budget_s = 0.01 if options.quick else 0.05
    cases = list(measure(SessionSettings(), budget_s, PATTERNS))
    nchwc = []
    if options.nchwc:
        nchwc = list(measure(SessionSettings(nchwc=True), budget_s, ("random", "box")))
    text = report(cases, nchwc)
    print(text)
    if options.doc is not None:
        rewrite(options.doc, text)


if __name__ == "__main__":
    main()
