"""Peak memory of `inspect` and `prune`, beside the size of the file that they are given.

    python benchmarks/memory.py [--gib 2.25] [--inside] [--folder FOLDER]

The file is made for it: convolutions and fully connected layers of random weights. Weights lie in a
file beside the model where protobuf cannot hold them, or always without ``--inside``. Each command
runs in a process of its own; its peak is the largest resident memory of that process, mapped pages
of the file included. Bounds: twice the size of the file to inspect, three times to prune.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

#: Rows and columns of a fully connected layer: 64 MiB of float32.
_WIDTH = 4096
#: Channels of a convolution of 3 x 3: 36 MiB.
_CHANNELS = 1024
#: How many times its file a command may take.
BOUNDS = {"inspect": 2.0, "prune": 3.0}
_PROTOBUF = 2**31 - 2**24


def make_file(path: Path, size: int, *, inside: bool = False) -> int:
    """Write a network of about ``size`` bytes; return the bytes of all its files."""
    nodes, weights = [], []
    value, left, channels = "x", size, 3
    while left > size // 2:
        shape = (_CHANNELS, channels, 3, 3)
        nodes.append(_conv(value, len(nodes), weights, shape))
        value, channels = nodes[-1].output[0], _CHANNELS
        nodes.append(helper.make_node("Relu", [value], [f"r{len(nodes)}"], f"relu{len(nodes)}"))
        value = nodes[-1].output[0]
        left -= 4 * int(np.prod(shape))
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"))
    value, width = "flat", _CHANNELS
    while left > 0:
        weights.append((f"v{len(nodes)}", (width, _WIDTH)))
        nodes.append(helper.make_node("MatMul", [value, weights[-1][0]], [f"m{len(nodes)}"], f"fc{len(nodes)}"))  # fmt: skip  # noqa: E501
        nodes.append(helper.make_node("Relu", [nodes[-1].output[0]], [f"r{len(nodes)}"], f"relu{len(nodes)}"))  # fmt: skip  # noqa: E501
        value = nodes[-1].output[0]
        left -= 4 * width * _WIDTH
        width = _WIDTH
    weights.append(("last", (width, 10)))
    nodes.append(helper.make_node("MatMul", [value, "last"], ["y"], "classifier"))
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
    )
    data = path.with_name(path.name + ".data")
    _write_weights(graph, weights, None if inside else data)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path.stat().st_size + (0 if inside else data.stat().st_size)


def _conv(
    value: str, number: int, weights: list[tuple[str, tuple[int, ...]]], shape: tuple[int, ...]
) -> onnx.NodeProto:
    weights.append((f"w{number}", shape))
    return helper.make_node(
        "Conv", [value, f"w{number}"], [f"c{number}"], f"conv{number}", pads=[1, 1, 1, 1]
    )


def _write_weights(
    graph: onnx.GraphProto, weights: list[tuple[str, tuple[int, ...]]], data: Path | None
) -> None:
    """Draw the weights one by one, into the graph or into a file beside the model."""
    rng = np.random.default_rng(0)
    file = None if data is None else data.open("wb")
    for name, shape in weights:
        fan = int(np.prod(shape[:1] if len(shape) == 2 else shape[1:]))
        values = rng.standard_normal(shape, np.float32) * np.float32((2 / fan) ** 0.5)
        tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT)
        if file is None or data is None:
            tensor.raw_data = values.tobytes()
        else:
            tensor.raw_data = b""  # set_external_data wants it there
            set_external_data(tensor, data.name, file.tell(), values.nbytes)
            tensor.ClearField("raw_data")
            file.write(values.data)
        graph.initializer.append(tensor)
    if file is not None:
        file.close()


def run(arguments: list[str]) -> tuple[int, float]:
    """Run acgraph in a process; return its peak in bytes, and the seconds of its processor."""
    command = [sys.executable, "-m", "acgraph.cli.main", *arguments]
    pid = os.posix_spawn(
        sys.executable,
        command,
        {**os.environ, "OMP_NUM_THREADS": "1"},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 3):
        raise SystemExit(f"acgraph {' '.join(arguments)} failed with exit code {code}")
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit, usage.ru_utime + usage.ru_stime


def measure(folder: Path, size: int, *, inside: bool = False) -> dict[str, float]:
    """Make the file, run the commands, return the times of its size that each takes."""
    path = folder / "large.onnx"
    # In a process of its own: the peak of a process starts at that of the one that starts it.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        written = pool.apply(make_file, (path, size), {"inside": inside})
    print(f"file: {written / 2**30:.2f} GiB, weights {'inside' if inside else 'beside it'}")
    found = {}
    for name, more in (("inspect", []), ("prune", ["-o", str(folder / "small.onnx")])):
        peak, seconds = run([name, str(path), *more])
        found[name] = peak / written
        print(
            f"{name}: peak {peak / 2**30:.2f} GiB, {peak / written:.2f} times the file "
            f"(bound {BOUNDS[name]:g}), {seconds:.0f} s of processor time",
            flush=True,
        )
    return found


def main() -> None:
    """Make the file, measure, and fail where a bound is passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=2.25, help="size of the file")
    parser.add_argument("--inside", action="store_true", help="weights inside the model's file")
    parser.add_argument("--folder", type=Path, help="where the files are made and kept")
    args = parser.parse_args()
    size = int(args.gib * 2**30)
    if args.inside and size >= _PROTOBUF:
        parser.error("protobuf holds no 2 GiB")
    with tempfile.TemporaryDirectory(prefix="acgraph-memory-") as made:
        folder = args.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(folder, size, inside=args.inside)
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))
    if any(found[name] > bound for name, bound in BOUNDS.items()):
        raise SystemExit("more than the bound")


if __name__ == "__main__":
    main()
