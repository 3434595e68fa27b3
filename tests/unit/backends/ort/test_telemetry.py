"""ONNX Runtime leaves nothing in the user's folders, whichever way acgraph comes to run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from acgraph.telemetry import VARIABLE

_CLI = "import os; from acgraph.cli.main import run; path = os.environ['MODEL']; "
_API = "import os; path = os.environ['MODEL']; import acgraph, onnxruntime; "
WAYS = {
    "prune": _CLI
    + "assert not run(['prune', path, '-o', path + '.out.onnx', '--quantize', 'int8'])",
    "measure": _CLI + "assert not run(['measure', path, '--runs', '3'])",
    "python": _API + "acgraph.prune(acgraph.read_model(path))",
}  # fmt: skip


def _left_by(code: str, home: Path, model: Path) -> tuple[list[str], str]:
    """Run code in a process that has not heard of the variable; name the files that it leaves."""
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    environment |= {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "MODEL": str(model),
        "TMPDIR": str(model.parent),
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [str(file.relative_to(home)) for file in home.rglob("*")], done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left(way: str, net_path: Path, home: Path) -> None:
    """``measure`` starts a process of its own, and ``prune`` the converter and the quantiser."""
    left, said = _left_by(WAYS[way], home, net_path)
    assert left == []
    assert "onnxruntime was imported" not in said


def test_an_import_that_came_first_is_told(net_path: Path, home: Path) -> None:
    """Nothing keeps ONNX Runtime silent then; whoever does it hears how to avoid it."""
    code = "import onnxruntime, acgraph.backends.ort.session, acgraph.backends.ort.equivalence"
    _, said = _left_by(code, home, net_path)
    assert said.count("onnxruntime was imported before acgraph") == 1
    assert VARIABLE in said


def test_what_the_user_said_stands(net_path: Path, home: Path) -> None:
    code = f"import os; os.environ['{VARIABLE}'] = '0'; import acgraph"
    _left_by(code + f"; assert os.environ['{VARIABLE}'] == '0'", home, net_path)
