import json
import logging

import pytest
import torch
from torch import nn

from acgraph.backends.torch import modes
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.modes import Mode, apply_mode, choose_mode, run_module

FP32 = Mode()
BF16 = Mode(precision="bf16")
BF16_LAST = Mode(precision="bf16", channels_last=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.dtypes = set()

    def forward(self, x):
        y = self.conv(x)
        self.dtypes.add(y.dtype)
        return (self.norm(y).mean((2, 3)),)


@pytest.fixture(autouse=True)
def computes_in_bf16(monkeypatch):
    """Offer both precisions, whatever the CPU of this machine computes in."""
    monkeypatch.setattr(modes, "_has_bf16", lambda: True)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(0)
    return Inputs.single(torch.randn(8, 3, 6, 6, generator=generator))


@pytest.fixture
def timings(monkeypatch):
    """Let each mode take a stated time and give a stated loss; count the steps."""
    table = {}
    calls = []

    def timed(module, batch, mode):
        calls.append((mode, len(batch)))
        loss, seconds = table[mode]
        if isinstance(loss, Exception):
            raise loss
        return loss, seconds

    monkeypatch.setattr(modes, "time_step", timed)
    for mode in (FP32, Mode(channels_last=True), BF16, BF16_LAST):
        table[mode] = (1.0, 0.5)
    table["calls"] = calls
    return table


def test_a_mode_that_is_far_too_slow_is_timed_once(net, x, timings):
    timings[BF16] = (1.0, 1.6)
    timings[BF16_LAST] = (1.0, 1.4)
    assert choose_mode(net, x) == FP32
    steps = [mode for mode, _ in timings["calls"]]
    assert steps.count(BF16) == 1
    assert steps.count(BF16_LAST) == 1 + modes.TIMED_STEPS


def test_a_precision_that_the_cpu_emulates_is_not_timed(net, x, timings, monkeypatch):
    monkeypatch.setattr(modes, "_has_bf16", lambda: False)
    timings[BF16_LAST] = (1.0, 0.1)
    assert choose_mode(net, x) == FP32
    assert {mode.precision for mode, _ in timings["calls"]} == {"fp32"}


def test_the_fastest_is_taken(net, x, timings):
    timings[BF16_LAST] = (1.01, 0.1)
    assert choose_mode(net, x) == BF16_LAST


def test_an_inaccurate_mode_is_not(net, x, timings):
    timings[BF16_LAST] = (1.03, 0.1)
    timings[BF16] = (0.99, 0.2)
    assert choose_mode(net, x) == BF16


def test_nan_is_not_accurate(net, x, timings):
    timings[BF16] = (float("nan"), 0.1)
    assert choose_mode(net, x) == FP32


def test_a_hair_faster_is_not_enough(net, x, timings):
    timings[BF16] = (1.0, 0.49)
    assert choose_mode(net, x) == FP32


def test_an_unsupported_mode_is_logged(net, x, timings, caplog):
    timings[BF16] = (RuntimeError("not implemented for BFloat16\nmore"), 0.1)
    with caplog.at_level(logging.INFO, logger="acgraph"):
        assert choose_mode(net, x) == FP32
    assert "bf16, contiguous: not supported (not implemented for BFloat16)" in caplog.text


def test_a_network_that_cannot_run_at_all(net, x, timings):
    timings[FP32] = (RuntimeError("bad shape"), 0.1)
    with pytest.raises(RuntimeError, match="bad shape"):
        choose_mode(net, x)


def test_a_slow_network_is_timed_on_less(net, timings):
    timings[FP32] = (1.0, 4.0)
    choose_mode(net, Inputs.single(torch.zeros(32, 3, 6, 6)))
    assert timings["calls"][0] == (FP32, 4)
    assert {count for mode, count in timings["calls"] if mode == BF16} == {2}


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"precision": "fp32"}, {FP32, Mode(channels_last=True)}),
        ({"precision": "bf16"}, {BF16, BF16_LAST}),
        ({"channels_last": True}, {Mode(channels_last=True), BF16_LAST}),
        ({"channels_last": False}, {FP32, BF16}),
    ],
)
def test_stated_modes_are_kept(net, x, timings, options, allowed):
    for mode in allowed:
        timings[mode] = (1.0, 0.9)  # slower than the others, which are not allowed
    assert choose_mode(net, x, **options) in allowed


def test_all_stated_needs_no_timing(net, x, timings):
    assert choose_mode(net, x, precision="bf16", channels_last=True) == BF16_LAST
    assert not timings["calls"]


def test_channels_last_is_for_images(net, timings):
    choose_mode(net, Inputs.single(torch.zeros(4, 3)))
    assert {mode for mode, _ in timings["calls"]} == {FP32, BF16}


def test_the_choice_is_remembered_by_network(net, x, timings, tmp_path):
    timings[BF16] = (1.0, 0.1)
    choose_mode(net, x)
    timings["calls"].clear()
    assert choose_mode(Net(), x) == BF16
    assert not timings["calls"]
    (file,) = (tmp_path / "cache" / "modes").iterdir()
    assert json.loads(file.read_text()) == {
        "precision": "bf16",
        "channels_last": False,
        "threads": None,
    }
    choose_mode(net, x[:4])
    assert timings["calls"]


@pytest.fixture
def by_threads(monkeypatch):
    """Let each number of threads take a stated time, from 8 threads on."""
    seconds = {8: 0.5, 4: 0.5, 2: 0.5, 1: 0.5}
    before = torch.get_num_threads()
    torch.set_num_threads(8)

    def timed(module, batch, mode):
        return 1.0, seconds[torch.get_num_threads()] * (0.5 if mode == BF16 else 1.0)

    monkeypatch.setattr(modes, "time_step", timed)
    yield seconds
    torch.set_num_threads(before)


def test_fewer_threads_are_taken_where_they_are_faster(net, x, by_threads, caplog):
    by_threads[2] = 0.3
    with caplog.at_level(logging.INFO, logger="acgraph"):
        mode = choose_mode(net, x, choose_threads=True)
    assert mode == Mode(precision="bf16", threads=2)
    assert torch.get_num_threads() == 8
    assert "training on 2 of 8 threads (4: 250.0 ms; 2: 150.0 ms; 1: 250.0 ms)" in caplog.text


def test_threads_are_left_where_fewer_are_hardly_faster(net, x, by_threads):
    by_threads[4] = 0.49
    assert choose_mode(net, x, choose_threads=True) == BF16


def test_stated_threads_are_kept(net, x, by_threads):
    by_threads[1] = 0.1
    assert choose_mode(net, x) == BF16


def test_chosen_threads_are_remembered(net, x, by_threads):
    by_threads[1] = 0.1
    mode = choose_mode(net, x, choose_threads=True)
    by_threads[1] = 9.0
    assert choose_mode(Net(), x, choose_threads=True) == mode
    assert mode.threads == 1


def test_a_damaged_memory_is_made_anew(net, x, timings, tmp_path, caplog):
    choose_mode(net, x)
    (file,) = (tmp_path / "cache" / "modes").iterdir()
    file.write_text("{")
    timings["calls"].clear()
    assert choose_mode(net, x) == FP32
    assert timings["calls"]
    assert "cannot be read" in caplog.text


def test_a_folder_that_cannot_be_written(net, x, timings, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ACGRAPH_CACHE", str(tmp_path / "file"))
    assert choose_mode(net, x) == FP32
    assert "cannot be written" in caplog.text


def test_timing_leaves_the_network_as_it_was(net, x):
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.eval()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    choose_mode(net, x)
    assert torch.equal(torch.rand(1), expected)
    assert not net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None and p.is_contiguous() for p in net.parameters())
    assert net.dtypes == {torch.float32, torch.bfloat16}


def test_modes_do_what_they_say(net, x):
    apply_mode(net, BF16_LAST)
    assert net.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert net.conv.weight.dtype == torch.float32
    run_module(net, x, BF16_LAST)
    assert net.dtypes == {torch.bfloat16}
    apply_mode(net, FP32)
    assert net.conv.weight.is_contiguous()


def test_the_timed_batch_is_as_large_as_its_time_allows(monkeypatch) -> None:
    """Most of a step on few images is overhead, which says nothing of a step on many."""
    timed = []

    def step(_module, x, _mode, _forward=None):
        timed.append(len(x))
        return 1.0, 0.02 + 0.001 * len(x)

    monkeypatch.setattr("acgraph.backends.torch.modes.time_step", step)
    for size, seconds, least, most in ((6, 0.1, 40, 100), (7, 10.0, 256, 256), (8, 1e-6, 2, 2)):
        choose_mode(Net(), Inputs.single(torch.zeros(256, 3, size, size)), probe_s=seconds)
        assert least <= timed[-1] <= most
