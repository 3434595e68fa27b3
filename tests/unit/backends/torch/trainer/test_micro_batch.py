"""Batches in parts that fit into memory."""

import logging

import numpy as np
import pytest
import torch

from acgraph.backends.torch import loop, memory, micro_batch
from acgraph.backends.torch.checkpoint import load_checkpoint, save_checkpoint
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.memory import images_that_fit
from acgraph.backends.torch.micro_batch import MicroBatch
from acgraph.backends.torch.modes import PLAIN
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.errors import BackendError, UsageError

#: Bytes that are available in tests that pretend to have little.
MEGABYTE = 1_000_000


def counted(trainer):
    """Let the trainer's network note how many images run at once."""
    sizes = []
    trainer.module.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    return sizes


def weights_after(make, model, *, teacher=None, **options):
    trainer = TorchTrainer(
        model, make.patterns(26), teacher=teacher, config=make.plain(batch_size=13, **options)
    )
    trainer.fit(epochs=2)
    return trainer.weights()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mixup": 0.4},
        {"label_smoothing": 0.1, "grad_clip": 0.05},
        {"distill_weight": 0.6},
        {"distill_weight": 0.6, "cache_teacher": True},
        {"feature_weight": 1.5},
    ],
    ids=str,
)
def test_parts_make_the_gradients_of_the_whole(make, options):
    has_teacher = not options.keys().isdisjoint(["distill_weight", "feature_weight"])
    teacher = make.bare(seed=1) if has_teacher else None
    whole, parts = (
        weights_after(make, make.bare(), teacher=teacher, micro_batch=size, **options)
        for size in (13, 5)
    )
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, atol=1e-6, err_msg=name)


def test_batchnormalization_sees_the_parts(make):
    whole, parts = (weights_after(make, make.conv(), micro_batch=size) for size in (13, 5))
    assert (whole["bn.mean"] != parts["bn.mean"]).any()


def test_no_more_images_run_at_once_than_stated(make):
    config = make.plain(batch_size=13, micro_batch=5)
    trainer = TorchTrainer(make.conv(), make.patterns(26), config=config)
    trainer.choose_mode()
    sizes = counted(trainer)
    trainer.fit(epochs=1)
    assert sizes == [5, 4, 4, 5, 4, 4]
    assert trainer.describe().endswith("; batch 13 in parts of 5")


def test_a_batch_that_fits_stays_whole(make):
    trainer = TorchTrainer(make.conv(), make.patterns(26), config=make.plain(batch_size=13))
    trainer.choose_mode()
    assert trainer.describe().endswith("; batch 13")
    sizes = counted(trainer)
    trainer.fit(epochs=1)
    assert sizes == [13, 13]


def test_little_memory_makes_small_parts(make, monkeypatch, caplog):
    module, config = GraphModule(make.conv()), make.plain()
    x = Inputs.single(torch.randn(64, 3, 8, 8))
    few, more = (memory._bytes_of_step(module, x[:count], PLAIN) for count in (2, 4))
    each = (more - few) / 2
    fixed = few - 2 * each + memory._copies_bytes(module, config)
    # Conv, BatchNormalization, two Relus: at least their outputs in float32 are kept.
    assert each >= 4 * 64 * (6 + 6 + 8)

    def fit_into(images):
        free = int((fixed + images * each) / memory.SHARE) + 8
        monkeypatch.setattr(memory, "available_bytes", lambda _: free)
        return images_that_fit(module, x, PLAIN, config)

    assert [fit_into(images) for images in (64, 63, 10, 2)] == [64, 63, 10, 2]
    assert fit_into(0) == 2
    assert "memory is short" in caplog.text
    monkeypatch.setattr(memory, "available_bytes", lambda _: None)
    assert images_that_fit(module, x, PLAIN, config) == 64


def test_several_processes_share_the_memory(make, monkeypatch):
    module, config = GraphModule(make.conv()), make.plain()
    x = Inputs.single(torch.randn(64, 3, 8, 8))
    monkeypatch.setattr(memory, "available_bytes", lambda _: MEGABYTE // 2)
    alone, shared = (images_that_fit(module, x, PLAIN, config, n) for n in (1, 2))
    assert 2 < shared < alone / 1.9


def test_a_trainer_fits_into_the_memory(make, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "available_bytes", lambda _: MEGABYTE // 4)
    data, config = make.patterns(60), make.plain(batch_size=60)
    trainer = TorchTrainer(make.conv(), data, config=config)
    trainer.choose_mode()
    sizes = counted(trainer)
    trainer.fit(epochs=1)
    assert len(sizes) > 1
    assert sum(sizes) == 60
    assert max(sizes) - min(sizes) <= 1
    save_checkpoint(tmp_path / "state.pt", trainer.state_dict())
    monkeypatch.undo()  # more memory does not change what a run that goes on does
    resumed = TorchTrainer(make.conv(), data, config=config)
    resumed.load_state_dict(load_checkpoint(tmp_path / "state.pt"))
    assert resumed.describe() == trainer.describe()


@pytest.fixture
def _as_on_a_gpu(monkeypatch):
    """Let the CPU be a device that says when its memory ends."""
    monkeypatch.setattr(loop, "can_run_out_of_memory", lambda _: True)


def statistics_cloned(make, monkeypatch):
    """How often a fit of four steps copies the running mean."""
    trainer = TorchTrainer(make.conv(), make.patterns(26), config=make.plain(batch_size=13))
    place = trainer.module.get_buffer("w_bn_mean").data_ptr()
    clone, places = torch.Tensor.clone, []

    def noted(tensor, *args, **options):
        places.append(tensor.data_ptr())
        return clone(tensor, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "clone", noted)
        trainer.fit(epochs=2)
    return places.count(place)


def test_the_cpu_keeps_no_statistics_for_another_attempt(make, monkeypatch):
    once = statistics_cloned(make, monkeypatch)  # what a failure falls back to
    monkeypatch.setattr(loop, "can_run_out_of_memory", lambda _: True)
    assert statistics_cloned(make, monkeypatch) == once + 4
    assert not micro_batch.can_run_out_of_memory(torch.device("cpu"))
    assert micro_batch.can_run_out_of_memory(torch.device("cuda"))


@pytest.mark.usefixtures("_as_on_a_gpu")
def test_running_out_of_memory_halves_the_parts(make, monkeypatch, caplog):
    """Nothing of the failed attempt is left: the weights are those of parts stated so."""
    expected = weights_after(make, make.conv(dropout=True), micro_batch=4)
    run = loop.run_module

    def run_or_fail(module, x, mode):
        if len(x) > 4:
            run(module, x, mode)
            try:
                raise torch.cuda.OutOfMemoryError("no memory")
            except RuntimeError as error:
                raise BackendError("PyTorch: no memory") from error
        return run(module, x, mode)

    monkeypatch.setattr(loop, "run_module", run_or_fail)
    with caplog.at_level(logging.WARNING, logger="acgraph"):
        found = weights_after(make, make.conv(dropout=True), micro_batch=8)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert [r.getMessage() for r in caplog.records] == [
        "out of memory with 8 images at once: continuing with 4"
    ]


@pytest.mark.usefixtures("_as_on_a_gpu")
def test_an_image_that_does_not_fit_ends_the_run(make, monkeypatch):
    def fail(*_):
        raise torch.cuda.OutOfMemoryError("no memory")

    monkeypatch.setattr(loop, "run_module", fail)
    with pytest.raises(BackendError, match="single image does not fit into memory"):
        weights_after(make, make.conv())


@pytest.mark.usefixtures("_as_on_a_gpu")
def test_other_failures_are_not_taken_for_it(make, monkeypatch):
    def fail(*_):
        raise RuntimeError("another")

    monkeypatch.setattr(loop, "run_module", fail)
    with pytest.raises(RuntimeError, match="another"):
        weights_after(make, make.conv())


def test_a_limit_of_the_control_group_counts(monkeypatch, tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\nHugePages_Total:\n")
    monkeypatch.setattr(memory, "_MEMINFO", meminfo)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    cpu = torch.device("cpu")
    assert memory.available_bytes(cpu) == 4000 * 1024
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes(cpu) == 4000 * 1024
    (tmp_path / "memory.max").write_text("51000\n")
    assert memory.available_bytes(cpu) == 50000
    (tmp_path / "memory.max").write_text("500\n")
    assert memory.available_bytes(cpu) == 0
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "absent")
    assert memory.available_bytes(cpu) is None


def test_parts_differ_by_one_image_at_most():
    assert MicroBatch().parts_of(7) == [slice(0, 7)]
    for count in range(1, 30):
        for size in range(1, 12):
            parts = MicroBatch(size).parts_of(count)
            sizes = [part.stop - part.start for part in parts]
            assert sum(sizes) == count
            assert max(sizes) <= size
            assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("size", [0, -1])
def test_parts_have_an_image(make, size):
    with pytest.raises(UsageError, match=f"micro_batch is {size}"):
        make.plain(micro_batch=size)
