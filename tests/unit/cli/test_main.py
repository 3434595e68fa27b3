"""The contract of the command line: exit codes, streams, one-line errors, lazy imports."""

import json
import subprocess
import sys

import onnx
import pytest
import typer

from acgraph.cli import main as cli
from acgraph.errors import BackendError, UsageError
from acgraph.ir import write_model
from acgraph.models.resnet import resnet_cifar
from acgraph.version import __version__

COMMANDS = ["check", "compress", "demo", "diff", "inspect", "measure", "opt", "prune", "verify"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    write_model(resnet_cifar(8, widths=(4, 8, 8), image=8), path)
    return str(path)


def acgraph(*words: str, data: bytes = b"") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "acgraph.cli.main", *words]
    return subprocess.run(command, input=data, capture_output=True, timeout=60)


def test_help_lists_every_command():
    found = acgraph("--help")
    assert found.returncode == 0
    assert all(f" {name} " in found.stdout.decode() for name in COMMANDS)
    assert found.stderr == b""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capfd):
    assert cli.run([name, "--help"]) == 0
    assert "Usage: acgraph " + name in capfd.readouterr().out


def test_help_loads_neither_torch_nor_onnxruntime_nor_onnx():
    code = (
        "import sys\n"
        "from acgraph.cli.main import run\n"
        "run(['compress', '--help'])\n"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'networkx', 'jinja2', 'acgraph.ir'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("acgraph comp", ["compress"]), ("acgraph compress --target", ["--target-rate"]),
     ("acgraph inspect --format j", ["json"])],
)  # fmt: skip
def test_a_shell_completes_commands_options_and_choices(line, wanted, monkeypatch, capfd):
    monkeypatch.setenv("_ACGRAPH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    assert cli.run([]) == 0
    assert capfd.readouterr() == ("\n".join(wanted) + "\n", "")


def test_completion_is_shown_and_installed(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("shellingham.detect_shell", lambda *_: ("bash", "/bin/bash"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.run(["--show-completion"]) == 0
    script, err = capfd.readouterr()
    assert "_ACGRAPH_COMPLETE=complete_bash" in script
    assert script.rstrip().endswith(" acgraph")
    assert not err
    assert not list(tmp_path.iterdir())
    assert cli.run(["--install-completion"]) == 0
    assert (tmp_path / ".bash_completions" / "acgraph.sh").read_text().strip() == script.strip()
    assert "acgraph.sh" in (tmp_path / ".bashrc").read_text()


def test_import_of_the_package_loads_nothing_heavy():
    code = (
        "import sys, acgraph\nprint({'torch', 'onnxruntime', 'onnx', 'numpy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_inspect_loads_neither_torch_nor_onnxruntime(model):
    code = (
        "import sys\n"
        "from acgraph.cli.main import run\n"
        f"assert run(['inspect', {model!r}]) == 0\n"
        "print(sorted({'torch', 'onnxruntime'} & set(sys.modules)), file=sys.stderr)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr.strip() == "[]"


def test_version(capfd):
    assert cli.run(["--version"]) == 0
    assert capfd.readouterr().out == "acgraph 0.1.0\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nosuch"], "No such command 'nosuch'; see acgraph --help"),
        (["inspect"], "Missing argument"),
        (["inspect", "a", "b"], "unexpected extra argument"),
        (["opt", "--nosuch"], "No such option: --nosuch"),
        (["inspect", "a", "--format", "xml"], "'xml' is not one of"),
        (["prune", "a", "--sparsity", "half"], "--sparsity"),
        (["opt"], "no model is given"),
        (["opt", "a"], "no passes are given"),
        (["diff", "-", "-"], "only one model can be read from standard input"),
        (["prune", "a", "--sparsity", "1"], "--sparsity is 1; give a share"),
        (["prune", "a", "--columns", "-0.1"], "--columns is -0.1; give a share"),
        (["compress"], "'model' is not given; give the path of an ONNX file"),
        (
            ["compress", "a"],
            "neither a target rate nor a largest accuracy drop is given; use --target-rate",
        ),
        (["compress", "a", "--target-rate", "0.5x"], "at least 1"),
    ],
)
def test_usage_errors_are_one_line_and_exit_with_2(words, message, capfd):
    assert cli.run(words) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_no_arguments_print_the_help(capfd):
    assert cli.run([]) == 2
    assert "Usage: acgraph" in capfd.readouterr().out


def test_errors_in_the_input_exit_with_1(capfd, tmp_path):
    path = tmp_path / "no.onnx"
    path.write_bytes(b"not onnx")
    assert cli.run(["inspect", str(path)]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"error: {path}: not an ONNX file, or a truncated one; export or copy it again\n"


def add_command(monkeypatch, function):
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(cli.options)
    app.command("go")(function)
    monkeypatch.setattr(cli, "app", app)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (BackendError("boom", hint="try again"), 1, "error: boom; try again\n"),
        (UsageError("no"), 2, "error: no\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (typer.Abort(), 130, "error: interrupted\n"),
        (ZeroDivisionError("x\ny"), 1, "error: ZeroDivisionError: x; this is a bug"),
        (RuntimeError(), 1, "error: RuntimeError: no message; this is a bug"),
    ],
)
def test_exit_codes(monkeypatch, capfd, error, code, line):
    def fail():
        raise error

    add_command(monkeypatch, fail)
    assert cli.run(["go"]) == code
    err = capfd.readouterr().err
    assert err.lstrip("\n").startswith(line)
    assert "Traceback" not in err


def test_an_unknown_error_of_diff_is_not_a_difference(monkeypatch, capfd):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("acgraph.api.diff.diff", fail)
    assert cli.run(["-q", "diff", "a.onnx", "b.onnx"]) == 2
    assert "this is a bug" in capfd.readouterr().err


@pytest.mark.parametrize("words", [["--debug", "go"], ["go", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch, capfd, words):
    def fail():
        raise BackendError("boom")

    add_command(monkeypatch, fail)
    assert cli.run(words) == 1
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: boom\n")


def test_exit_code_of_a_command_is_passed_on(monkeypatch):
    def missed():
        raise typer.Exit(3)

    add_command(monkeypatch, missed)
    assert cli.run(["go"]) == 3


def test_a_closed_pipe_is_quiet(model):
    command = f"{sys.executable} -m acgraph.cli.main opt {model} -p infer-shapes | true"
    found = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60)
    assert found.stderr == b""


def test_log_goes_to_stderr(model):
    found = acgraph("-v", "opt", model, "-p", "infer-shapes")
    assert b"INFO acgraph.passmanager.manager: infer-shapes:" in found.stderr
    assert found.stdout.startswith(b"graph ")
    assert acgraph("opt", model, "-p", "infer-shapes").stderr == b""


def test_models_pass_through_standard_streams(model):
    with open(model, "rb") as file:  # noqa: PTH123
        data = file.read()
    found = acgraph("opt", "-", "-p", "infer-shapes", "-o", "-", data=data)
    assert found.returncode == 0
    written = onnx.load_model_from_string(found.stdout)
    assert len(written.graph.value_info) > 0
    onnx.checker.check_model(written)
    listed = acgraph("inspect", "-", "--format", "json", data=found.stdout)
    assert json.loads(listed.stdout)["model"]["path"] == "-"


def shell(words, streams=""):
    command = f"{sys.executable} -W ignore -m acgraph {words} {streams}"
    return subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, text=True)


def test_the_package_can_be_run():
    found = shell("--version")
    assert (found.returncode, found.stdout) == (0, f"acgraph {__version__}\n")


def test_closed_streams_are_no_error(model):
    found = shell(f"opt {model} -p infer-shapes", "<&- >&-")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    found = shell("opt - -p infer-shapes", "<&- 2>&-")
    assert (found.returncode, found.stdout, found.stderr) == (1, "", "")


def test_errors_are_json_if_json_is_asked_for(tmp_path, capsys):
    path = tmp_path / "none.onnx"
    assert cli.run(["inspect", str(path), "--format", "json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["schema"] == 1
    assert found["error"]["message"] == "no such file"
    assert found["error"]["location"] == str(path)
    assert err == f"error: {found['error']['text']}\n"
    assert cli.run(["inspect", "--format=json", "--nonsense"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == 2


@pytest.mark.parametrize(
    ("error", "word"), [(SystemExit(0), "ended the process"), (MemoryError(), "enough memory")]
)
def test_no_exception_looks_like_success(monkeypatch, capsys, error, word):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("acgraph.api.inspect.inspect", fail)
    assert cli.run(["inspect", "m.onnx"]) == 1
    err = capsys.readouterr().err
    assert word in err
    assert err.count("\n") == 1
