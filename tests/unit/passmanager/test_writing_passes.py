"""The pass of ``docs/writing_passes.md`` does what the page says."""

import re
import sys
import types
from pathlib import Path

import pytest

from acgraph.ir.text import model_from_text, text_from_model
from acgraph.passmanager import PassManager, build_passes

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "writing_passes.md").read_text()
PASS = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
MODEL = re.search(r"(<ir_version.*?)```", PAGE, re.DOTALL)[1]


@pytest.fixture
def registry(monkeypatch):
    module = types.ModuleType("merge_abs_of_the_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(PASS, module.__dict__)
    return {"merge-abs": f"{module.__name__}:MergeAbs"}


def test_the_pass_fires_once(registry):
    model = model_from_text(MODEL)
    manager = PassManager(build_passes("merge-abs", registry), check_claims=True)
    (first,), (second,) = manager.run(model), manager.run(model)
    assert (first.result.modified, second.result.modified) == (True, False)
    expected = re.search(r"# CHECK: (.*)", PAGE)[1]
    assert expected in text_from_model(model)


def test_its_option_stops_it_with_a_reason(registry):
    model = model_from_text(MODEL)
    manager = PassManager(build_passes("merge-abs{max-nodes=0}", registry), check_claims=True)
    (run,) = manager.run(model)
    assert [remark.message for remark in run.result.remarks] == ["not merged: max-nodes is reached"]
