"""Two processes, connected by gloo on this machine, against one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from acgraph.backends.torch.checkpoint import load_checkpoint
from acgraph.backends.torch.loader import Loader
from acgraph.backends.torch.team import Team, stated_size
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.errors import UsageError

#: What each process runs; the first one writes what became of the weights.
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
from test_team import run_process
run_process(Path(sys.argv[2]))
"""


def settings_of(make):
    return make.plain(
        batch_size=10, momentum=0.9, weight_decay=1e-3, distill_weight=0.5, feature_weight=0.5
    )


def train(make, **options):
    """Two fits of a network without BatchNormalization, the second one masked and pulled."""
    from acgraph.backends.training import Proximal

    trainer = TorchTrainer(
        make.bare(), make.patterns(53), teacher=make.bare(seed=1), config=settings_of(make)
    )
    first = trainer.fit(epochs=1.5)
    second = trainer.fit(
        epochs=1,
        masks={"conv.w": np.arange(6).reshape(6, 1, 1, 1) > 1},
        proximal=Proximal(targets={"fc.w": np.ones((make.classes, 6))}, rho={"fc.w": 0.1}),
        **options,
    )
    return trainer, [first.loss, second.loss]


def run_process(out):
    """Be one of the two processes."""
    from importlib.util import module_from_spec, spec_from_file_location

    from acgraph.backends.torch.checkpoint import save_checkpoint
    from acgraph.backends.torch.follow import follow, leading
    from acgraph.backends.torch.team import team

    torch.set_num_threads(1)
    spec = spec_from_file_location("builders", Path(__file__).with_name("conftest.py"))
    builders = module_from_spec(spec)
    spec.loader.exec_module(builders)
    make = builders.make.__wrapped__()
    if not team().is_leader:
        follow(lambda model: make.patterns(53))
        return
    with leading():
        trainer, losses = train(make, time_budget_s=1e6)
        values = {k: torch.from_numpy(v) for k, v in trainer.weights().items()}
        save_checkpoint(out, {"weights": values, "losses": losses})


def start(rank, size, port, out):
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, __file__, str(out)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_two_processes_reach_the_weights_of_one(make, tmp_path):
    pytest.importorskip("accelerate", reason="needs acgraph[distributed]")
    out, port = tmp_path / "weights.pt", free_port()
    processes = [start(rank, 2, port, out) for rank in range(2)]
    printed = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    found = load_checkpoint(out)
    trainer, losses = train(make)
    assert found["losses"] == pytest.approx(losses, rel=1e-5)
    for name, value in trainer.weights().items():
        np.testing.assert_allclose(found["weights"][name].numpy(), value, atol=1e-6)
    assert not found["weights"]["conv.w"][:2].any()


def test_parts_of_a_batch_make_up_the_whole(make):
    data, config = make.patterns(53), make.plain(batch_size=10)
    whole = Loader(data, config, 0)
    parts = [Loader(data, config, 0, rank=rank, size=3) for rank in range(3)]
    for step in range(7):
        batches = [part.read(step) for part in parts]
        together = np.concatenate([batch.indices for batch in batches])
        assert together.tolist() == whole.read(step).indices.tolist()
        assert sum(batch.share for batch in batches) == pytest.approx(1.0)


def test_processes_augment_differently(make):
    data, config = make.patterns(6), make.plain(batch_size=6, augment=True, crop=2)
    parts = [Loader(data, config, 0, rank=rank, size=2).read(0) for rank in range(2)]
    same = Loader(data, config, 0, rank=0, size=2).read(0)
    assert np.array_equal(parts[0].examples.x, same.examples.x)
    assert not np.array_equal(parts[0].examples.x, parts[1].examples.x)


class Pretended(Team):
    """A team that is never connected."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size


@pytest.mark.parametrize(
    ("team", "options", "message"),
    [
        (Pretended(0, 2), {"loss": lambda o, y, t: o[0].sum()}, "a custom loss"),
        (Pretended(0, 9), {}, "a batch of 8 images is too small for 9"),
        (Pretended(1, 2), {}, "process 1 is not the leader"),
    ],
)
def test_what_several_processes_cannot_do_is_said(make, monkeypatch, team, options, message):
    monkeypatch.setattr("acgraph.backends.torch.trainer.team", lambda: team)
    config = make.plain(batch_size=10)
    trainer = TorchTrainer(make.bare(), make.patterns(53), config=config, **options)
    with pytest.raises(UsageError, match=message):
        trainer.fit(epochs=1)


def test_the_launcher_says_how_many_there_are():
    assert stated_size({}) == 1
    assert stated_size({"WORLD_SIZE": "4"}) == 4
    with pytest.raises(UsageError, match="WORLD_SIZE is 'many'"):
        stated_size({"WORLD_SIZE": "many"})


def test_accelerate_is_asked_for_where_it_is_missing(monkeypatch):
    from acgraph.backends.torch.team import team

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(UsageError, match=r"pip install 'acgraph\[distributed\]'"):
        team.__wrapped__()
