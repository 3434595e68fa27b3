"""Run acgraph on mutated files: no traceback, no hang, bounded memory, nothing left by a failure.

Usage: python benchmarks/mutations.py [MODELS] [DATA] [SEED]

500 mutated ONNX files go through inspect, prune, diff or opt, and 100 mutated files of data and of
options through prune and compress. Each run is a fork of one process that has loaded the libraries.
A run is a fault if it reports a bug or a traceback, prints more than one line of error, takes more
than 20 seconds of CPU time or 4 GiB, ends by a signal, or fails and leaves a file behind.
"""

import collections
import os
import random
import resource
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

LIMIT_S, LIMIT_BYTES = 20, 4 << 30
_OPTIONS = (
    "model: {model}\ntarget_rate: 2x\nepochs: 0\ntiming: false\nseed: 3\ndata: {data}\n"
    "train: {{learning_rate: 0.02, batch_size: 16}}\nsearch: {{method: dp, evaluations: 4}}\n"
    "keep: ['head*']\ncolumns: {{enabled: false}}\nthreads: 1\n"
)
_ODD = (-1, 0, 1, 2, 255, 2**31, 2**40, 2**62, -(2**63))


def flip(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 2, 8, 64])):
        found[rng.randrange(len(found))] = rng.randrange(256)
    return bytes(found)


def cut(data: bytes, rng: random.Random) -> bytes:
    """Remove, repeat or truncate a part."""
    start = rng.randrange(len(data))
    part = data[start : start + rng.randrange(1, 200)]
    kind = rng.randrange(3)
    if kind == 0:
        return data[:start]
    return data.replace(part, b"" if kind == 1 else part * 3, 1)


def edit(data: bytes, rng: random.Random) -> bytes:
    """Change the structure of a model: sizes, attributes, names, types, edges, versions."""
    model = onnx.load_model_from_string(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        rng.choice([_sizes, _attributes, _edges, _nodes, _types, _versions])(model, rng)
    return model.SerializeToString()


def _sizes(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(list(model.graph.initializer))
    value = rng.choice([*model.graph.input, *model.graph.output])
    if rng.random() < 0.5 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(_ODD)
    elif value.type.tensor_type.shape.dim:
        rng.choice(list(value.type.tensor_type.shape.dim)).dim_value = rng.choice(_ODD)


def _attributes(model: onnx.ModelProto, rng: random.Random) -> None:
    attributes = [a for node in model.graph.node for a in node.attribute]
    if not attributes:
        return
    attribute = rng.choice(attributes)
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(_ODD)
    attribute.i = rng.choice(_ODD)
    if rng.random() < 0.1:
        attribute.type = rng.randrange(14)


def _edges(model: onnx.ModelProto, rng: random.Random) -> None:
    names = [name for node in model.graph.node for name in [*node.input, *node.output]]
    node = rng.choice(list(model.graph.node))
    ends = rng.choice([node.input, node.output])
    if ends:
        ends[rng.randrange(len(ends))] = rng.choice([*names, "", "nowhere"])


def _nodes(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = model.graph.node
    place = rng.randrange(len(nodes))
    kind = rng.randrange(3)
    if kind == 0:
        del nodes[place]
    elif kind == 1:
        nodes.add().CopyFrom(nodes[place])
    else:
        nodes[place].op_type = rng.choice(
            ["Relu", "MatMul", "Reshape", "Nonsense", "Loop", "Concat", "Transpose", "Split"]
        )


def _types(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(list(model.graph.initializer))
    if rng.random() < 0.5:
        tensor.data_type = rng.randrange(26)
    else:
        value = rng.choice([*model.graph.input, *model.graph.output])
        value.type.tensor_type.elem_type = rng.randrange(26)


def _versions(model: onnx.ModelProto, rng: random.Random) -> None:
    model.opset_import[0].version = rng.choice([1, 5, 7, 11, 13, 21, 99, *_ODD])
    model.ir_version = rng.choice([model.ir_version, 3, 8, 99])


def forked(words: Sequence[str], folder: Path) -> tuple[str, str]:
    """Run a command line in a child; return how it ended, and its fault or an empty text."""
    from acgraph.cli.main import run

    before = set(folder.rglob("*"))
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.stdout, sys.stderr = (
                os.fdopen(k, "w", errors="backslashreplace", closefd=False) for k in (1, 2)
            )
            resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S + 1))
            code = 99
            try:
                code = run(words)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        _, status, used = os.wait4(child, 0)
        err.seek(0)
        text = err.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    errors = [line for line in text.splitlines() if not line.startswith(("warning:", "output "))]
    left = sorted(path.name for path in set(folder.rglob("*")) - before)
    faults = (
        ("ended by a signal", code < 0 or code == 99),
        ("reports a bug", "bug in acgraph" in text or "Traceback" in text),
        ("several lines of error", code == 1 and len(errors) > 1 and words[0] != "compress"),
        ("too much memory", used.ru_maxrss * 1024 > LIMIT_BYTES),
        ("a file is left", code in (1, 2) and any("checkpoints" not in name for name in left)
         and words[0] != "compress"),
    )  # fmt: skip
    found = ", ".join(name for name, is_true in faults if is_true)
    return f"{words[0]}: exit {code}", f"{found}: {text.strip()[-200:]}" if found else ""


def sources(folder: Path) -> dict[str, bytes]:
    """Return the files that are mutated: two models, an archive, and options."""
    from acgraph.ir import write_model
    from acgraph.models.mobilenet import mobilenet_v2
    from acgraph.models.resnet import resnet_cifar

    write_model(resnet_cifar(8, widths=(8, 8, 16), image=8), folder / "resnet.onnx")
    write_model(mobilenet_v2(), folder / "mobilenet.onnx")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 3, 8, 8)).astype(np.float32)
    np.savez_compressed(folder / "data.npz", x=x, y=np.arange(24) % 10)
    found = {p.name: p.read_bytes() for p in folder.iterdir()}
    names = {"model": folder / "resnet.onnx", "data": folder / "data.npz"}
    return {**found, "options.yaml": _OPTIONS.format(**names).encode()}


def commands(name: str, file: Path, folder: Path, rng: random.Random) -> list[str]:
    """Return a command line that reads a mutated file."""
    out, model = str(folder / "out" / "o.onnx"), str(folder / "resnet.onnx")
    if name == "options.yaml":
        return ["compress", "--config", str(file), "-o", str(folder / "out" / "run"),
                "--print-config"]  # fmt: skip
    if name == "data.npz":
        return ["prune", model, "--data", str(file), "--target-rate", "1.5x", "-o", out, "--no-ort"]
    return rng.choice(
        [
            ["inspect", str(file)],
            ["prune", str(file), "-o", out, "--no-ort"],
            ["diff", str(folder / name), str(file)],
            ["opt", str(file), "-p", "fold-constants,fuse-batchnorm", "-o", out],
        ]
    )


def main(models: int, data: int, seed: int) -> int:
    """Run all mutations, print a table, and return the number of faults."""
    warnings.simplefilter("ignore")
    import acgraph.api.diff
    import acgraph.api.inspect
    import acgraph.api.prune
    import acgraph.backends.ort.session
    import acgraph.driver.prune.files
    import acgraph.passes  # noqa: F401

    rng, table, faults = random.Random(seed), collections.Counter[str](), []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        given = sources(folder)
        (folder / "out").mkdir()
        for number in range(models + data):
            is_model = number < models
            name = rng.choice(
                ["resnet.onnx", "mobilenet.onnx"] if is_model else ["data.npz", "options.yaml"]
            )
            changes = [flip, cut, edit, edit] if is_model else [flip, cut]
            content = rng.choice(changes)(given[name], rng)
            file = folder / f"mutated{Path(name).suffix}"
            file.write_bytes(content)
            ended, fault = forked(commands(name, file, folder, rng), folder)
            table[f"{'model' if is_model else name:<14} {ended}"] += 1
            if fault:
                faults.append(f"{number} {name} {fault}")
                print(faults[-1], flush=True)
    for row, count in sorted(table.items()):
        print(f"{count:>5}  {row}")
    print(f"{sum(table.values())} mutated files, {len(faults)} faults")
    return len(faults)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    sys.exit(min(main(*(numbers + [500, 100, 0][len(numbers) :])), 1))
