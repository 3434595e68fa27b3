"""The JSON Schemas describe what is read and what is written."""

import json
import re
from typing import Any

import pytest
import yaml

from acgraph.cli.main import run
from acgraph.config_merge import make_config
from acgraph.report import Report

Schema = dict[str, Any]
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "object": dict, "array": list, "null": type(None), "boolean": bool,
    "integer": int, "number": (int, float),
}  # fmt: skip
#: The words of the schemas, apart from those that only describe.
CHECKED = {
    "$ref", "anyOf", "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minLength", "properties", "required", "additionalProperties", "items",
    "prefixItems", "minItems", "maxItems",
}  # fmt: skip
DESCRIBING = {"$schema", "$defs", "title", "description", "default", "examples", "format"}


def is_type(value: object, name: str) -> bool:
    is_bool = isinstance(value, bool)
    return isinstance(value, TYPES[name]) and (not is_bool or name == "boolean")


def is_valid(value: Any, schema: Schema, root: Schema) -> bool:
    """Check a value as JSON Schema defines it, for the words that the schemas use."""
    assert set(schema) <= CHECKED | DESCRIBING, set(schema) - CHECKED - DESCRIBING
    if "$ref" in schema:
        return is_valid(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema and not any(is_valid(value, other, root) for other in schema["anyOf"]):
        return False
    kinds = schema.get("type", list(TYPES))
    if not any(is_type(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return False
    if isinstance(value, str):
        return len(value) >= schema.get("minLength", 0)
    if is_type(value, "number"):
        return (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and not ("exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"])
            and not ("exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"])
        )
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        kinds = [*first, *[schema.get("items", {})] * len(value)]
        size = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return size and all(map(is_valid, value, kinds, [root] * len(value)))
    if isinstance(value, dict):
        known, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        if not set(schema.get("required", [])) <= set(value):
            return False
        others = {} if more is True else more
        return all(
            is_valid(inner, known[key], root)
            if key in known
            else others is not False and is_valid(inner, others, root)
            for key, inner in value.items()
        )
    return True


@pytest.fixture
def schema(capfd: pytest.CaptureFixture[str]) -> Any:
    """Print a schema, which is strict JSON."""

    def printed(what: str) -> Schema:
        assert run(["compress", "--print-schema", what]) == 0
        found: Schema = json.loads(capfd.readouterr().out, parse_constant=pytest.fail)
        return found

    return printed


FILES = [
    "target_rate: 8x",
    "{target_rate: 8, max_drop: 1.5, data: train.npz}",
    "{target_rate: 2x, mean: 0.5, std: [0.2, 0.3, 0.1], keep: head*, outputs: 'a,b'}",
    "{target_rate: 2x, layer_rate: {c*: 2x}, max_layer_rate: 3, task: {y: ctc}}",
    "{max_drop: 1, time_budget: 20m, input_shape: {x: [1, 3, 8, 8]}, align: auto}",
    "{max_drop: 1, time_budget: 90, input_shape: 'x:1,3,8,8', align: 8, layer_rate: [c*=2x]}",
    "{target_rate: 2x, train: {grad_clip: auto, flip: false, micro_batch: 4}, seed: 3}",
    "{target_rate: 2, admm: {rho_max: .inf}, search: {anneal: {batch: 2}}, columns: {multiple: 4}}",
]


@pytest.mark.parametrize("text", FILES)
def test_a_valid_file_of_options_is_valid(schema, text):
    values = yaml.safe_load(text)
    make_config({"model": "m.onnx", **values})
    found = schema("options")
    assert is_valid(values, found, found)


@pytest.mark.parametrize(
    "text",
    [
        "target: 8x",
        "train: {epochs: 3}",
        "train: {seed: 3}",
        "search: {anneal: {batches: 2}}",
        "train: 3",
        "rounds: 0",
        "rounds: two",
        "epochs: -1",
        "scale: 0",
        "metric: flops",
        "layer_rate: {c*: true}",
        "input_shape: {x: [0]}",
        "threads: 1.5",
    ],
)
def test_a_file_that_is_refused_is_not_valid(schema, text):
    values = yaml.safe_load(text)
    found = schema("options")
    assert not is_valid(values, found, found)


def test_the_printed_options_are_valid(schema, capfd):
    words = ["compress", "m.onnx", "--target-rate", "8x", "--print-config", "--format", "json"]
    assert run(words) == 0
    values = json.loads(capfd.readouterr().out, parse_constant=pytest.fail)
    found = schema("options")
    assert is_valid(values, found, found)
    assert set(found["properties"]) == set(values) | {"resume"}
    assert make_config(values) == make_config({"model": "m.onnx", "target_rate": "8x"})


def test_every_option_is_described(schema):
    found = schema("options")
    for part in (found, *found["$defs"].values()):
        for name, fact in part.get("properties", {}).items():
            assert re.match(r"\S.*\.$", fact["description"]), name


@pytest.mark.parametrize(("what", "number"), [("report", 1), ("dry-run", 1)])
def test_what_is_written_has_every_key(schema, what, number):
    found = schema(what)
    assert found["properties"]["schema"]["const"] == number
    assert set(found["required"]) == set(found["properties"])


def test_the_report_is_valid(schema, report: Report):
    found = schema("report")
    values = json.loads(report.to_json())
    assert is_valid(values, found, found)
    odd = report.model_copy(update={"seconds": float("inf")})
    assert is_valid(json.loads(odd.to_json()), found, found)
    assert not is_valid(values | {"seed": "3"}, found, found)
    del values["verify"]
    assert not is_valid(values, found, found)


def test_another_name_is_refused(capfd):
    assert run(["compress", "--print-schema", "plan"]) == 2
    assert "there is no schema 'plan'; known: options, report, dry-run" in " ".join(
        capfd.readouterr().err.split()
    ).replace("(hint: ", "; ")
