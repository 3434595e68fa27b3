"""Measure lowered layers against the dense layer, and rewrite the table of docs/lowering.md.

    python benchmarks/lowering.py [--patterns random box] [--cache FILE] [--doc docs/lowering.md]

For every layer shape, column pattern and kept share, three forms are compared with the dense layer:
the form that the chooser of ``compress`` selects by timing, the form that the cost model selects,
and a layer whose whole channels are pruned to the same number of weights. They run on one thread,
without and with NCHWc. The chooser times the forms in separate runs, so that the selection does not
favour lucky samples; then all models run interleaved, and their medians are compared.

Cases in ``--cache`` are not measured again, so that a run can be interrupted or split into parts.
Without ``--doc`` the tables are only printed.
"""

import argparse
import dataclasses
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from pages import rewrite

from acgraph.backends.ort.layer_timing import sample_layers, timing_chooser
from acgraph.backends.ort.session import SessionSettings
from acgraph.lowering import Candidate, Chooser, ConvLayer, CostModelChooser, candidates
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
PATTERNS = ("random", "balanced", "contiguous", "kernel", "box")
SETTINGS = {"phone": SessionSettings(), "nchwc": SessionSettings(nchwc=True)}
#: Measuring time for each model, in seconds.
BUDGET_S = 0.2
#: Target speed-ups: medians over shapes at 50, 25 and 10 %, without NCHWc.
TARGETS = {"six large, random": (1.6, 2.9, 6.0), "three small, regular": (1.2, 1.9, 3.0)}


Key = tuple[str, tuple[int, int, int], str, float]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One pruned layer in one setting; medians in microseconds."""

    setting: str
    shape: tuple[int, int, int]
    pattern: str
    share: float
    chosen: str
    estimated: str
    dense_us: float
    chosen_us: float
    estimated_us: float
    channels_us: float
    load: float

    @property
    def key(self) -> Key:
        return self.setting, self.shape, self.pattern, self.share

    def speed_up(self, of: str) -> float:
        return self.dense_us / float(getattr(self, f"{of}_us"))


def conv_layer(weight: np.ndarray, size: int) -> ConvLayer:
    return ConvLayer.alone(weight, size, np.zeros(weight.shape[0], np.float32))


def pruned(shape: tuple[int, int, int], pattern: str, share: float) -> ConvLayer:
    channels, filters, size = shape
    rng = np.random.default_rng([*shape, round(share * 100)])
    weight = rng.standard_normal((filters, channels, 3, 3)).astype(np.float32)
    # Norms of random weights are nearly equal, so that the free projection is a random choice.
    name = "free" if pattern == "random" else pattern
    kept = project_columns(weight, round(share * channels * 9), name)
    return conv_layer(np.where(kept[None], weight, np.float32(0)), size)


def fewer_channels(shape: tuple[int, int, int], share: float) -> Candidate:
    """Return the layer without some of its input channels."""
    channels, filters, size = shape
    kept = max(1, round(share * channels))
    weight = np.random.default_rng(0).standard_normal((filters, kept, 3, 3)).astype(np.float32)
    return candidates(conv_layer(weight, size))[0]


def measure(
    setting: str, shape: tuple[int, int, int], pattern: str, share: float, chooser: Chooser
) -> Case:
    ways = candidates(pruned(shape, pattern, share))
    chosen, estimated = chooser.choose(ways), CostModelChooser().choose(ways)
    timed = [ways[0], fewer_channels(shape, share)]
    timed += [way for way in {chosen, estimated} if way is not ways[0]]
    models = [fragment_model(way.fragment, activation=True) for way in timed]
    samples = sample_layers(models, SETTINGS[setting], budget_s=BUDGET_S)
    medians = {way: float(np.median(s)) * 1e3 for way, s in zip(timed, samples, strict=True)}
    return Case(
        setting=setting,
        shape=shape,
        pattern=pattern,
        share=share,
        chosen=chosen.label,
        estimated=estimated.label,
        dense_us=medians[ways[0]],
        chosen_us=medians[chosen],
        estimated_us=medians[estimated],
        channels_us=medians[timed[1]],
        load=os.getloadavg()[0],
    )


def measure_all(patterns: Sequence[str], cache: Path | None) -> dict[Key, Case]:
    """Measure the cases that are not in the cache; return all cases."""
    cases = {case.key: case for case in read_cache(cache)}
    with tempfile.TemporaryDirectory() as folder:
        for setting, settings in SETTINGS.items():
            chooser = timing_chooser(settings=settings, cache_dir=Path(folder))
            for shape, pattern, share in wanted(patterns):
                if (setting, shape, pattern, share) in cases:
                    continue
                case = measure(setting, shape, pattern, share, chooser)
                cases[case.key] = case
                if cache is not None:
                    with cache.open("a") as file:
                        file.write(json.dumps(dataclasses.asdict(case)) + "\n")
    return cases


def wanted(patterns: Sequence[str]) -> Iterator[tuple[tuple[int, int, int], str, float]]:
    return ((x, p, s) for x in SHAPES for p in PATTERNS if p in patterns for s in SHARES)


def read_cache(cache: Path | None) -> list[Case]:
    if cache is None or not cache.exists():
        return []
    rows = [json.loads(line) for line in cache.read_text().splitlines()]
    return [Case(**row | {"shape": tuple(row["shape"])}) for row in rows]


def summary(cases: Sequence[Case]) -> list[str]:
    """Return a table of medians over the shapes of each group."""
    lines = [
        "| layers, columns | 50 % | 25 % | 10 % | NCHWc: 50 % | 25 % | 10 % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, speed_ups in TARGETS.items():
        lines.append(_row(f"target for {name}", [*speed_ups]))
    for group in ("six large", "three small"):
        inside = [case for case in cases if (case.shape in SMALL) == (group == "three small")]
        random = [case for case in inside if case.pattern == "random"]
        lines.append(_medians(f"{group}, whole channels, equal weights", random, "channels"))
        lines.append(_medians(f"{group}, random, cost model", random, "estimated"))
        for pattern in PATTERNS:
            of = [case for case in inside if case.pattern == pattern]
            if of:
                lines.append(_medians(f"{group}, {pattern}", of, "chosen"))
    return lines


def _medians(name: str, cases: Sequence[Case], of: str) -> str:
    medians = []
    for setting in SETTINGS:
        for share in SHARES:
            found = [c.speed_up(of) for c in cases if (c.setting, c.share) == (setting, share)]
            medians.append(float(np.median(found)) if found else float("nan"))
    return _row(name, medians)


def _row(name: str, values: Sequence[float]) -> str:
    shown = [f"{value:.2f}x" for value in values] + [""] * (2 * len(SHARES) - len(values))
    return f"| {name} | " + " | ".join(shown) + " |"


def table(cases: dict[Key, Case], patterns: Sequence[str]) -> list[str]:
    columns = "dense us | selected | speed-up | cost model | whole channels"
    lines = [
        f"| in, out, size | columns | kept | {columns} | NCHWc: {columns} |",
        "|" + "---|" * 13,
    ]
    for shape, pattern, share in wanted(patterns):
        row = [f"{shape[0]}, {shape[1]}, {shape[2]}x{shape[2]}", pattern, f"{share:.0%}"]
        for setting in SETTINGS:
            case = cases[setting, shape, pattern, share]
            ups = [f"{case.speed_up(of):.2f}x" for of in ("chosen", "estimated", "channels")]
            row += [f"{case.dense_us:.0f}", case.chosen, *ups]
        lines.append("| " + " | ".join(row) + " |")
    return lines


def report(cases: dict[Key, Case], patterns: Sequence[str]) -> str:
    shown = [case for case in cases.values() if case.pattern in patterns]
    loads = [case.load for case in shown]
    slowest = min(case.speed_up("chosen") for case in shown)
    return "\n".join(
        [
            "Speed-up over the dense layer, from medians of interleaved runs. ONNX Runtime "
            f"{ort.__version__}, {platform.machine()}, {os.cpu_count()} cores, one thread; load of "
            f"the machine {np.median(loads):.1f} (median), {max(loads):.1f} (maximum).",
            "",
            *summary(shown),
            "",
            f"Smallest speed-up of a selected form in {len(shown)} cases: {slowest:.2f}x.",
            "",
            *table(cases, patterns),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=PATTERNS)
    parser.add_argument("--cache", type=Path, help="JSON lines of measured cases")
    parser.add_argument("--doc", type=Path, help="rewrite the tables in this file")
    options = parser.parse_args()
    cases = measure_all(options.patterns, options.cache)
    text = report(cases, options.patterns)
    print(text)
    if options.doc is not None:
        rewrite(options.doc, "lowering", text)


if __name__ == "__main__":
    main()
