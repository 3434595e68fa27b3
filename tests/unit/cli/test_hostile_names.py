"""Names come from files: none may break a line of the output or reach a terminal as a command."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.cli.main import run

EVIL = "a\x1b[31m\n\u202eb\tc"
SHOWN = r"a\x1b[31m\n\u202eb\tc"


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model all of whose names have control characters, in a file whose name has them."""
    rng = np.random.default_rng(0)
    names = {key: f"{key} {EVIL}" for key in ("x", "w", "c", "r", "v", "y", "own", "far")}
    arrays = {"w": (8, 3, 3, 3), "v": (5, 8, 1, 1)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", [names["x"], names["w"]], [names["c"]], name=f"first {EVIL}"),
            helper.make_node("Relu", [names["c"]], [names["r"]], name=f"relu {EVIL}"),
            helper.make_node("Conv", [names["r"], names["v"]], [names["y"]], name=f"last {EVIL}"),
        ],
        f"graph {EVIL}",
        [helper.make_tensor_value_info(names["x"], TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(names["y"], TensorProto.FLOAT, [1, 5, 6, 6])],
        [
            numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), names[key])
            for key, shape in arrays.items()
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(proto, {f"key {EVIL}": f"value {EVIL}"})
    path = tmp_path_factory.mktemp("evil") / f"m {EVIL}.onnx"
    onnx.save(proto, str(path))
    return str(path)


def _check(text: str) -> None:
    for line in text.splitlines():
        assert line.isprintable(), repr(line)


def test_text_is_escaped(evil: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = str(tmp_path / f"small {EVIL}.onnx")
    commands: list[tuple[int, list[str]]] = [
        (0, ["inspect", evil]),
        (0, ["inspect", evil, "--why", f"last {EVIL}"]),
        (0, ["prune", evil, "-o", small, "--columns", "0.3"]),
        (1, ["diff", evil, small]),
        (0, ["verify", small, "--against", small]),
        (0, ["measure", small, "--against", evil, "--runs", "2", "--profile"]),
        (0, ["opt", evil, "-p", "fold-constants"]),
        (0, ["opt", evil, "-p", "eliminate-dead-nodes", "--print-ir-after", "all", "-o", small]),
        (2, ["inspect", evil, "--why", f"none {EVIL}"]),
        (1, ["measure", f"{evil}x"]),
    ]
    for code, words in commands:
        assert run(words) == code
        out, err = capfd.readouterr()
        _check(out)
        _check(err)
        if words[0] not in ("prune", "measure"):  # which name no node here, or fold names
            assert SHOWN in (out + err).replace("\n", ""), words
