"""Compress one published network of each family by 2x MACs, without labels.

    python benchmarks/families.py [NAME ...] [--cache FOLDER] [--time-budget 20m]
                                   [--again] [--write]

Three versions of each network are compared with the original on inputs that none of them has seen:
``prune --data`` cuts to half of the MACs, by measurement and with the layers fitted. ``prune`` cuts
by magnitude, at the sparsity that comes closest to half of the MACs. ``compress`` also fine-tunes,
for at most ``--time-budget``. The figures are those of docs/tasks.md: cosine, normalised error,
detections kept and new, equal sequences.

The files are those of benchmarks/field.py. The inputs are drawn by benchmarks/field_inputs.py and
have no labels. A network that has a result in the cache is not run again, unless with ``--again``.
``--write`` puts the results into docs/results/families.json and docs/families.md.
"""

import argparse
import json
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import child
import numpy as np
import onnxruntime as ort
import platformdirs
from field import ACGRAPH, Row, ended_row
from field_check import Feeds, feeds, session
from field_fetch import fetch
from field_files import FILES, FieldFile

from acgraph.analysis.outputs import output_facts
from acgraph.ir import infer_facts, read_model
from acgraph.tasks import Agreement, OutputTask, guess

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 3600.0
#: Examples for training and, drawn with another seed, for the figures; fewer where they are large.
TRAINING, JUDGED = 512, 64
DATA_BYTES = 128 * 2**20
SEEDS = {"training": 7, "judged": 11}
#: Steps of the search for the sparsity that halves the MACs, and how near to 2x is near enough.
STEPS, NEAR = 6, 0.03


@dataclass(frozen=True, slots=True)
class Family:
    """A network that stands for a family.

    Attributes:
        name: Of its file in benchmarks/field_files.py.
        family: What the family is called.
        asked: The figure that is required, and the least value of it; None where there is none.
        most: The figure that must not be exceeded, likewise.
        shared: Inputs that a whole batch shares, such as the state before a sequence.
    """

    name: str
    family: str
    asked: tuple[str, float] | None = None
    most: tuple[str, float] | None = None
    shared: tuple[str, ...] = ()


FAMILIES = (
    Family("nudenet", "detector", ("kept", 0.90), ("new", 0.10)),
    Family("ppocr_rec", "recogniser of text", ("equal sequences", 0.90)),
    Family("wake_embedding", "speech embedding", ("cosine", 0.95)),
    Family("mtcnn_onet", "regression of landmarks"),
    Family("ppocr_det", "segmentation"),
    Family("silero_vad_sequence", "recurrent network with states", shared=("h", "c")),
    Family("rxnmap", "text encoder with four inputs"),
    Family("morphemes", "float16 weights"),
)


def inputs_of(family: Family, file: FieldFile, part: str, count: int) -> Feeds:
    """Draw examples of the usual size; the first axis counts them, except in shared inputs."""
    sizes = {}
    per_example = sum(4 * int(np.prod(shape[1:])) for shape in file.sizes[0].values())
    rows = max(8, min(count, DATA_BYTES // max(per_example, 1)))
    for name, shape in file.sizes[0].items():
        sizes[name] = shape if name in family.shared else (rows, *shape[1:])
    return feeds(file, sizes, SEEDS[part])


def run(words: Sequence[str]) -> tuple[Row, Row | None]:
    """Run a command; return how it ended, and its JSON where it ended well."""
    ended = child.run([*ACGRAPH, *words], LIMIT_S)
    row = ended_row(ended)
    if ended.code not in (0, 3):
        return {**row, "error": ended.error_line or "out of time"}, None
    return row, json.loads(ended.stdout) if ended.stdout.startswith("{") else {}


def by_magnitude(path: Path, out: Path) -> Row:
    """Cut by magnitude at the sparsity that comes closest to half of the MACs."""
    low, high = 0.0, 0.9
    best: Row = {"code": None, "error": "no sparsity was tried"}
    for _ in range(STEPS):
        sparsity = round((low + high) / 2, 3)
        small = out / f"magnitude_{sparsity}.onnx"
        words = ["prune", str(path), "--sparsity", str(sparsity), "--no-ort"]
        row, told = run([*words, "-o", str(small), "--format", "json"])
        if told is None:
            return row
        rate = told["rate"]["macs"]
        row |= {"rate": round(rate, 3), "sparsity": sparsity, "path": small.name}
        if best.get("rate") is None or abs(rate - 2) < abs(best["rate"] - 2):
            best = row
        if abs(rate - 2) <= NEAR:
            break
        low, high = (sparsity, high) if rate < 2 else (low, sparsity)
    del best["first"]
    return best


def by_data(path: Path, out: Path, data: Path) -> Row:
    """Cut by measurement to half of the MACs, with the layers fitted; nothing is trained."""
    small = out / "data.onnx"
    words = ["prune", str(path), "--data", str(data), "--target-rate", "2x", "--metric", "macs"]
    row, told = run([*words, "--no-ort", "-o", str(small), "--format", "json"])
    if told is not None:
        row |= {"rate": round(told["rate"]["macs"], 3)}
        row |= {"path": small.name}
        del row["first"]
    return row


def compressed(path: Path, out: Path, data: Path, budget: str) -> Row:
    """Cut to half of the MACs and fine-tune within a time budget."""
    folder = out / "run"
    words = ["compress", str(path), "--target-rate", "2x", "--metric", "macs", "--data", str(data)]
    row, _ = run([*words, "--time-budget", budget, "-o", str(folder)])
    if row["code"] in (0, 3):
        report = json.loads((folder / "report.json").read_text())
        row |= {"rate": round(report["rate"]["macs"], 3), "path": "run/model.onnx"}
        row |= {"verify": report["verify"]}
    return row


def answers(path: Path, examples: Feeds) -> list[np.ndarray]:
    """Run a file on the judged examples, which are its whole batch or are run one by one."""
    network = session(path.read_bytes())
    names = [entry.name for entry in network.get_inputs()]
    fed = {name: examples[name] for name in names}
    try:
        return list(network.run(None, fed))
    except ort.capi.onnxruntime_pybind11_state.InvalidArgument:  # the batch is fixed at 1
        count = len(next(iter(fed.values())))
        rows = [network.run(None, {k: v[i : i + 1] for k, v in fed.items()}) for i in range(count)]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def tasks_of(path: Path, original: Sequence[np.ndarray]) -> tuple[OutputTask, ...]:
    """Guess what each output means, as ``compress`` does."""
    model = read_model(path)
    return guess(output_facts(model, infer_facts(model)), values=original)


def judge(
    path: Path, original: Sequence[np.ndarray], tasks: Sequence[OutputTask], examples: Feeds
) -> list[Row]:
    """Compare a file with the original, in the terms of the field."""
    both = Agreement(tasks)
    both.add(answers(path, examples), original)
    return [asdict(result) for result in both.results]


def run_family(family: Family, file: FieldFile, path: Path, out: Path, budget: str) -> Row:
    """Make the versions of one network, and compare each with the original."""
    out.mkdir(parents=True)
    data = out / "data.npz"
    np.savez(data, **inputs_of(family, file, "training", TRAINING))
    row: Row = {"name": family.name, "family": family.family, "kind": file.kind}
    row["versions"] = {
        "prune": by_magnitude(path, out),
        "prune --data": by_data(path, out, data),
        "compress": compressed(path, out, data, budget),
    }
    examples = inputs_of(family, file, "judged", JUDGED)
    original = answers(path, examples)
    tasks = tasks_of(path, original)
    row["examples"] = len(next(iter(examples.values())))
    for version in row["versions"].values():
        if "path" in version:
            version["figures"] = judge(out / version.pop("path"), original, tasks, examples)
    return row


def is_met(family: Family, row: Row) -> bool:
    """Say whether ``compress`` ended well, is equivalent, and keeps what the family requires."""
    version = row["versions"]["compress"]
    if version["code"] != 0 or not version["verify"]["passed"]:
        return False
    return all(_holds(figure, family) for figure in version["figures"])


def _holds(figure: Mapping[str, Any], family: Family) -> bool:
    numbers = figure["numbers"]
    for asked, is_least in ((family.asked, True), (family.most, False)):
        for name, value in numbers.items():
            if asked is None or asked[0] not in name:
                continue
            if (value < asked[1]) if is_least else (value > asked[1]):
                return False
    return True


def table(rows: Sequence[Row]) -> str:
    """Write one line for each network."""
    host = f"{platform.machine()}, ONNX Runtime {ort.__version__}"
    known = {family.name: family for family in FAMILIES}
    met = sum(is_met(known[row["name"]], row) for row in rows)
    lines = [
        "# One network of each family",
        "",
        "`python benchmarks/families.py --write` writes this page. Each row is a published network "
        "(docs/field.md), cut to half of its MACs in three ways: by magnitude (`prune`); by "
        "measurement, with the layers fitted to unlabelled examples (`prune --data`); and with "
        "fine-tuning on the same examples (`compress`, which takes the outputs of the original as "
        "targets). The figures compare each version with the original on examples that were used "
        "for nothing else. The inputs are drawn by benchmarks/field_inputs.py; real ones would be "
        "more varied.",
        "",
        f"{met} of {len(rows)} runs of `compress` end with exit code 0, pass the equivalence check "
        f"and meet the requirement of their family ({host}).",
        "",
        "| network | family | `prune` | `prune --data` | `compress` | exit code | MACs | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        versions = row["versions"]
        last = versions["compress"]
        cells = [
            row["name"], row["family"], *(_figure(version) for version in versions.values()),
            "out of time" if last["code"] is None else str(last["code"]),
            f"{last['rate']:.2f}x" if "rate" in last else "", f"{last['seconds']:.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _figure(version: Row) -> str:
    if "figures" not in version:
        return version.get("error", "").replace("|", "\\|")
    return "; ".join(figure["text"] for figure in version["figures"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [family.name for family in FAMILIES]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--time-budget", default="20m")
    parser.add_argument("--again", action="store_true", help="run networks that have a result")
    parser.add_argument("--write", action="store_true", help="write docs/families.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    cache = (arguments.cache or Path(platformdirs.user_cache_dir("acgraph")) / "field").resolve()
    files = {file.name: file for file in FILES}
    results = cache / "results" / "families"
    results.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        kept = results / f"{family.name}.json"
        if arguments.names and family.name not in arguments.names:
            continue
        if kept.exists() and not arguments.again:
            continue
        out = cache / "out" / "families" / family.name
        shutil.rmtree(out, ignore_errors=True)
        file = files[family.name]
        row = run_family(family, file, fetch(file, cache), out, arguments.time_budget)
        kept.write_text(json.dumps(row, indent=1).replace(f"{cache}/", "") + "\n")
        shutil.rmtree(out)
        print(table([row]).splitlines()[-1], flush=True)
    rows = [
        json.loads(kept.read_text())
        for name in names
        if (kept := results / f"{name}.json").exists()
    ]
    if arguments.write:
        (ROOT / "docs/results/families.json").write_text(json.dumps(rows, indent=1) + "\n")
        (ROOT / "docs/families.md").write_text(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
