import os

import pytest
import torch

from acgraph.backends.torch import checkpoint
from acgraph.backends.torch.checkpoint import load_checkpoint, save_checkpoint
from acgraph.errors import BackendError, OutputError


def test_what_is_saved_comes_back(tmp_path):
    state = {"a": torch.randn(3, 2), "step": 7, "plan": [1, 0.5, "cosine", None], "d": {"x": True}}
    path = tmp_path / "deep" / "er" / "state.pt"
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert torch.equal(loaded.pop("a"), state.pop("a"))
    assert loaded == state
    assert [p.name for p in path.parent.iterdir()] == ["state.pt"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_checkpoint(path, {"step": 1})

    def fail(content, stream):
        stream.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OutputError, match="no space left"):
        save_checkpoint(path, {"step": 2})
    monkeypatch.undo()
    assert load_checkpoint(path) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


def test_what_is_no_checkpoint(tmp_path, monkeypatch):
    with pytest.raises(BackendError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.pt")
    damaged = tmp_path / "damaged.pt"
    save_checkpoint(damaged, {"a": torch.zeros(1000)})
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(BackendError, match="damaged"):
        load_checkpoint(damaged)
    other = tmp_path / "other.pt"
    torch.save({"a": 1}, other)
    with pytest.raises(BackendError, match="not a checkpoint of format"):
        load_checkpoint(other)
    old = tmp_path / "old.pt"
    save_checkpoint(old, {})
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    with pytest.raises(BackendError, match="format 2"):
        load_checkpoint(old)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    torch.save({"format": 1, "state": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(BackendError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "run").exists()
