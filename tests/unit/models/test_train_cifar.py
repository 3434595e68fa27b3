"""The paper's networks: trained for a few steps by the documented commands."""

import json
import re
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from acgraph.backends.torch.checkpoint import save_checkpoint
from acgraph.backends.torch.modes import PLAIN
from acgraph.cli.main import run
from acgraph.models.train_cifar import NETWORKS, main, recipe, train

#: Share of the channels at which a network is small, and can still be cut as far as the page says.
WIDTHS = {"resnet18": 0.1, "vgg16": 0.15}
PAGE = Path(__file__).parents[3] / "docs" / "paper_networks.md"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ACGRAPH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(32) % 10
    x = rng.integers(0, 200, (32, 32, 32, 3)).astype(np.uint8)
    x[np.arange(32), 3 * y] = 255  # a bright row for each class
    np.savez(tmp_path / "train.npz", x=x, y=y)
    return str(tmp_path / "train.npz")


def commands(program):
    """Return the arguments of the commands of the page that start with a program."""
    text = PAGE.read_text().replace("\\\n", " ")
    lines = re.findall(rf"^    {re.escape(program)} (.*)$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_the_page_has_a_command_for_each_network():
    trained = commands("python -m acgraph.models.train_cifar")
    assert sorted(words[0] for words in trained) == sorted(NETWORKS)
    assert sorted(words[0] for words in commands("acgraph compress")) == [
        f"{name}.onnx" for name in sorted(NETWORKS)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_few_steps_of_the_documented_command(name, data, tmp_path, monkeypatch, capsys):
    """The whole networks, few images: what the page says with other data and fewer passes."""
    monkeypatch.chdir(tmp_path)
    (train,) = (c for c in commands("python -m acgraph.models.train_cifar") if c[0] == name)
    given = [
        "--data",
        f"{data}#x[:16],y[:16]",
        "--eval-data",
        f"{data}#x[16:],y[16:]",
        "--batch-size",
        "8",
    ]
    assert main([*train, *given, "--epochs", "1", "--threads", "1", "--device", "cpu"]) == 0
    session = onnxruntime.InferenceSession(f"{name}.onnx", providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"input": np.zeros((3, 3, 32, 32), np.float32)})
    assert outputs[0].shape == (3, 10)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_both_documented_commands_run_through(name, data, tmp_path, monkeypatch, capsys):
    """Narrow networks, few images: trained, then compressed to the rate of the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(NETWORKS, name, partial(NETWORKS[name], width=WIDTHS[name]))
    # Which mode is fastest is luck, and the weights depend on it.
    monkeypatch.setattr("acgraph.backends.torch.setup.choose_mode", lambda *_, **__: PLAIN)
    (train,) = (c for c in commands("python -m acgraph.models.train_cifar") if c[0] == name)
    (compress,) = (c for c in commands("acgraph compress") if c[0] == f"{name}.onnx")
    assert Path(data).samefile(train[train.index("--data") + 1])
    Path("test.npz").write_bytes(Path(data).read_bytes())
    few = ["--epochs", "2", "--batch-size", "16", "--threads", "1"]
    assert main([*train, *few, "--device", "cpu"]) == 0
    fast = ["--rounds", "1", "--evaluations", "1", "--no-timing", "--set", "train.device=cpu"]
    assert run(["compress", *compress, *few, *fast]) == 0, capsys.readouterr().err
    folder = Path(compress[compress.index("-o") + 1])
    report = json.loads((folder / "report.json").read_text())
    asked = float(compress[compress.index("--target-rate") + 1].rstrip("x"))
    assert report["target"]["rate"] == asked
    assert report["target"]["met"]
    assert report["rate"]["params"] >= asked
    assert report["verify"]["passed"]
    x = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    sizes = []
    for file in (f"{name}.onnx", folder / "model.onnx"):
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        (logits,) = session.run(None, {"input": x})
        assert logits.shape == (3, 10)
        assert np.isfinite(logits).all()
        sizes.append(Path(file).stat().st_size)
    assert sizes[1] < sizes[0] / 5


def test_options_reach_training(monkeypatch, data, tmp_path):
    seen = {}

    def fake_train(network, spec, **options):
        seen.update(network=network, spec=spec, **options)
        return NETWORKS[network](width=0.05), None

    monkeypatch.setattr("acgraph.models.train_cifar.train", fake_train)
    output = tmp_path / "out.onnx"
    words = (
        f"vgg16 --data {data} -o {output} --epochs 3 --batch-size 7 "
        "--learning-rate 0.3 --device cpu --threads 2 --seed 5 --checkpoint state --resume"
    )
    assert main(words.split()) == 0
    assert (seen["network"], seen["spec"], seen["epochs"]) == ("vgg16", data, 3.0)
    expected = recipe(batch_size=7, learning_rate=0.3, device="cpu", threads=2, seed=5)
    assert seen["config"] == expected
    assert (seen["checkpoint"], seen["resume"]) == (Path("state"), True)
    assert output.is_file()


def test_training_that_was_interrupted_ends_in_the_same_weights(data, tmp_path, monkeypatch):
    monkeypatch.setitem(NETWORKS, "vgg16", partial(NETWORKS["vgg16"], width=0.05))
    monkeypatch.setattr("acgraph.backends.torch.setup.choose_mode", lambda *_, **__: PLAIN)
    config = recipe(batch_size=16, device="cpu", threads=1)
    whole, _ = train("vgg16", data, epochs=3, config=config)
    state = tmp_path / "state"

    def stop(path, content):
        save_checkpoint(path, content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("acgraph.models.train_cifar.save_checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            train("vgg16", data, epochs=3, config=config, checkpoint=state)
    rest, _ = train("vgg16", data, epochs=3, config=config, checkpoint=state, resume=True)
    expected, found = whole.constants(), rest.constants()
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_nothing_is_trained_where_it_cannot_be_measured(data, tmp_path, monkeypatch, capsys):
    def fit(*_, **__):
        raise AssertionError("trained for nothing")

    monkeypatch.setattr("acgraph.models.train_cifar.TorchTrainer.fit", fit)
    absent = str(tmp_path / "absent.npz")
    words = ["vgg16", "--data", data, "--eval-data", absent, "-o", str(tmp_path / "out.onnx")]
    assert main(words) == 1
    assert "absent.npz" in capsys.readouterr().err


def test_what_is_wrong_is_said_in_a_line(tmp_path, capsys):
    absent = str(tmp_path / "absent.npz")
    assert main(["vgg16", "--data", absent, "-o", str(tmp_path / "out.onnx")]) == 1
    assert "absent.npz" in capsys.readouterr().err
    assert not (tmp_path / "out.onnx").exists()
