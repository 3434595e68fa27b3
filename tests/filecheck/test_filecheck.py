"""Run the RUN lines of ``*.onnxtxt``: ``[not] acgraph ... [2>&1] | filecheck %s [flags]``."""

import shlex
from pathlib import Path

import pytest
from filecheck.finput import FInput
from filecheck.matcher import Matcher
from filecheck.options import parse_argv_options
from filecheck.parser import Parser

from acgraph.cli.main import run
from acgraph.passes import REGISTRY

HERE = Path(__file__).parent
FILES = sorted(HERE.rglob("*.onnxtxt"))
#: Passes that do nothing without data, which ``opt`` has not: tests/unit shows that they fire.
NEED_DATA = frozenset({"insert-batchnorm"})


def commands(path: Path) -> list[str]:
    marker = "# RUN:"
    lines = path.read_text().splitlines()
    return [line.removeprefix(marker).strip() for line in lines if line.startswith(marker)]


def execute(words: list[str], capfd) -> tuple[int, str]:
    both = "2>&1" in words
    code = run([word for word in words if word != "2>&1"])
    out, err = capfd.readouterr()
    return code, err + out if both else out


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_file(path, capfd):
    found = commands(path)
    assert found, "a test without a RUN line checks nothing"
    for command in found:
        first, _, second = command.replace("%s", str(path)).partition(" | ")
        words = shlex.split(first)
        must_fail = words[0] == "not"
        program, *arguments = words[must_fail:]
        assert program == "acgraph"
        code, text = execute(arguments, capfd)
        assert (code != 0) == must_fail, text
        assert second.startswith("filecheck ")
        options = parse_argv_options(shlex.split(second))
        checks = Parser.from_opts(options)
        matcher = Matcher(options, FInput("stdin", text), checks)
        assert matcher.run() == 0, f"{capfd.readouterr().err}\n{text}"


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_pass_has_tests_that_fire_refuse_and_meet_the_unknown(name):
    stems = {path.stem for path in FILES if path.parent.name == name}
    fires = set() if name in NEED_DATA else {"fires"}
    assert stems >= {"refuses", "unknown-op", *fires}


def test_a_wrong_check_fails(tmp_path, capfd):
    path = tmp_path / "wrong.onnxtxt"
    path.write_text("# CHECK: Sigmoid\n")
    options = parse_argv_options(["filecheck", str(path)])
    matcher = Matcher(options, FInput("stdin", "%y = Relu(%x)\n"), Parser.from_opts(options))
    assert matcher.run() != 0
    assert "Sigmoid" in capfd.readouterr().err


def test_run_lines_are_read(tmp_path):
    path = tmp_path / "x.onnxtxt"
    path.write_text("# RUN: a | b\n# CHECK: c\n#RUN: d\n")
    assert commands(path) == ["a | b"]
