"""docs/pages.md names every key of the JSON of a difference."""

import dataclasses
import json
import re
from pathlib import Path

import acgraph
from acgraph.analysis.cost import Cost
from acgraph.difference import GraphDiff, types
from acgraph.ir.text import model_from_text
from acgraph.pruning.cut_plan import CutPlan

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "pages.md").read_text(encoding="utf-8")
MODEL = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Relu (x) }'
ENTRIES = {
    "added": types.NodeRef, "removed": types.NodeRef, "renamed": types.Renamed,
    "retyped": types.Retyped, "resized": types.Resized, "lowered": types.Lowered,
    "rewired": types.RewiredInput, "attributes": types.AttributeChange,
    "constants": types.ConstantChange, "properties": types.ValueChange,
    "cost_before": Cost, "cost_after": Cost, "node_costs": types.NodeCost,
}  # fmt: skip


def documented() -> dict[str, set[str]]:
    """Read the table of keys: the names in the second column by those of the first."""
    found = {}
    for keys, content in re.findall(r"^\| (`[^|]+) \| ([^|]+) \|$", PAGE, re.M):
        for key in re.findall(r"`(\w+)`", keys):
            found[key] = set(re.findall(r"`(\w+)`", content))
    return found


def test_every_key_of_a_difference_is_documented() -> None:
    told = documented()
    fields = {field.name for field in dataclasses.fields(GraphDiff)}
    assert fields == set(ENTRIES)
    assert {"is_empty", "run", *fields} <= told.keys()
    for key, kind in ENTRIES.items():
        assert told[key] == {field.name for field in dataclasses.fields(kind)}, key


def test_the_keys_of_a_run_are_documented() -> None:
    model = model_from_text(MODEL)
    data = json.loads(acgraph.diff(model, model, run=True).to_json())
    assert data.keys() == {"schema", "is_empty", "run", *ENTRIES}
    assert "schema" in documented()
    (first, *_) = data["run"]["activations"]
    explained = json.loads(acgraph.diff(model, model, plan=CutPlan()).to_json())["plan"]
    assert documented()["plan"] == {"same", "changed", "unexplained"} == explained.keys()
    assert documented()["run"] == {*data["run"], *first}
