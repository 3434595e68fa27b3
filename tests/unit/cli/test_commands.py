"""What the commands print and write, through the same door as a user."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from acgraph.ir import count_params, write_model
from acgraph.models.resnet import resnet_cifar
from acgraph.passes import REGISTRY


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    write_model(resnet_cifar(8, widths=(8, 8, 16), image=8), path)
    return str(path)


def outputs(path: Path | str) -> np.ndarray:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shape = [s if isinstance(s, int) else 2 for s in session.get_inputs()[0].shape]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def test_inspect_counts_what_the_file_holds(acgraph, model):
    data = json.loads(acgraph("inspect", model, "--format", "json")[0])
    proto = onnx.load(model)
    assert data["cost"]["params"] == count_params(proto)
    convs = [node.name for node in proto.graph.node if node.op_type in ("Conv", "Gemm")]
    assert [layer["name"] for layer in data["layers"]] == convs
    assert data["layers"][0]["filters"] == 8
    assert data["layers"][0]["columns"] == 27
    assert data["families"]
    assert any("graph output" in fence["reason"] for fence in data["fences"])


def test_inspect_prints_the_same_as_text(acgraph, model):
    data = json.loads(acgraph("inspect", model, "--format", "json")[0])
    text = acgraph("inspect", model)[0]
    assert f"{data['cost']['params']:,} params" in text
    for layer in data["layers"]:
        assert layer["name"] in text
    for fence in data["fences"]:
        assert fence["reason"] in text


def test_inspect_explains_a_node(acgraph, model):
    layer = json.loads(acgraph("inspect", model, "--format", "json")[0])["layers"][0]["name"]
    text = acgraph("inspect", model, "--why", layer)[0]
    assert "coupled sets" in text
    lines = json.loads(acgraph("inspect", model, "--why", layer, "--format", "json")[0])
    assert lines == {"schema": 1, "node": layer, "why": text.splitlines()}
    assert "did you mean" in acgraph("inspect", model, "--why", layer[:-1], code=2)[1]


def test_inspect_explains_an_output_that_its_fences_name(acgraph, model):
    fences = json.loads(acgraph("inspect", model, "--format", "json")[0])["fences"]
    output = onnx.load(model).graph.output[0].name
    assert {"node": output, "reason": "a graph output keeps its shape"} in fences
    first, second, *rest = acgraph("inspect", model, "--why", output)[0].splitlines()
    assert first == f"{output}: a graph output keeps its shape"
    assert second.startswith("made by ")
    assert any("fenced" in line for line in rest)


def test_prune_writes_a_model_that_passes_the_equivalence_check(acgraph, model, tmp_path):
    small, masked = tmp_path / "small.onnx", tmp_path / "masked.onnx"
    text = acgraph("prune", model, "--sparsity", "0.5", "-o", small, "--masked-out", masked)[0]
    assert "equivalence check passed" in text
    assert "the model was not trained" in text
    np.testing.assert_allclose(outputs(small), outputs(masked), rtol=1e-4, atol=1e-5)
    assert count_params(onnx.load(small)) < 0.5 * count_params(onnx.load(model))
    names = [n.name for n in onnx.load(masked).graph.node]
    assert names == [n.name for n in onnx.load(model).graph.node]


def test_prune_makes_the_folder_and_says_what_it_wrote(acgraph, model, tmp_path):
    small = tmp_path / "new" / "folder" / "small.onnx"
    lines = acgraph("prune", model, "-o", small)[0].splitlines()
    names = lines[-1].removeprefix("written to ").split(", ")
    assert names[0] == str(small)
    assert sorted(names) == sorted(map(str, small.parent.iterdir()))
    assert "written to" not in acgraph("prune", model)[0]


def test_prune_names_a_folder_that_cannot_be_made(acgraph, model, tmp_path):
    (tmp_path / "file").touch()
    said = acgraph("prune", model, "-o", tmp_path / "file" / "small.onnx", code=1)[1]
    assert said.startswith(f"error: {tmp_path / 'file'}: cannot be created: ")
    assert len(said.splitlines()) == 1


def test_measure_heads_columns_by_what_tells_the_files_apart(acgraph, model, tmp_path):
    paths = [tmp_path / name / "model.onnx" for name in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(Path(model).read_bytes())
    text = acgraph("measure", paths[0], "--against", paths[1], "--runs", "3")[0]
    assert "a/model.onnx" in text.splitlines()[1]
    assert "b/model.onnx" in text.splitlines()[1]


def test_diff_with_a_page_prints_a_summary(acgraph, model, tmp_path):
    small, page = tmp_path / "small.onnx", tmp_path / "page.html"
    acgraph("prune", model, "-o", small)
    first, *costs, last = acgraph("diff", model, small, "--html", page, code=1)[0].splitlines()
    assert re.fullmatch(r"\d+ of \d+ layers changed, .*x fewer params", first)
    assert [line.partition(":")[0] for line in costs] == ["params", "MACs", "bytes"]
    assert last == f"written to {page}"
    plain = acgraph("diff", model, small, "--html", page, "--format", "json", code=1)[0]
    assert json.loads(plain)["is_empty"] is False
    both = acgraph("diff", model, model, "--html", page)[0]
    assert both == f"The models are the same\nwritten to {page}\n"


def test_prune_json_has_the_names_of_the_contract(acgraph, model, tmp_path):
    small = tmp_path / "s.onnx"
    data = json.loads(acgraph("prune", model, "-o", small, "--format", "json")[0])
    assert set(data) >= {"before", "after", "rate", "fences", "seconds"}
    assert data["before"]["params"] == count_params(onnx.load(model))
    assert data["after"]["params"] == count_params(onnx.load(small))
    assert data["rate"]["params"] == pytest.approx(
        data["before"]["params"] / data["after"]["params"]
    )
    assert data["fences"]
    assert set(data["fences"][0]) == {"node", "reason"}


def test_prune_options_are_heeded(acgraph, model):
    def params(*words):
        return json.loads(acgraph("prune", model, *words, "--format", "json")[0])["after"]["params"]

    whole = params("--sparsity", "0")
    half, most = params("--sparsity", "0.5"), params("--sparsity", "0.75")
    columns = params("--sparsity", "0", "--columns", "0.75")
    assert whole > half > most
    assert columns < whole


@pytest.fixture
def branching(tmp_path) -> str:
    """A model whose MACs are unknown: a product in a branch."""
    branch = "=> (float[1,2,4,4] o) { o = Conv(x, v) }"
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,2,4,4] x, bool c) => '
        "(float[1,3,4,4] y) <float[4,2,1,1] w = {1,2,3,4,5,6,7,8}, float[2,2,1,1] v = {1,2,3,4}, "
        "float[3,4,1,1] u = {1,2,3,4,5,6,7,8,9,1,2,3}> { [choice] a = If (c) "
        f"<then_branch = a () {branch}, else_branch = b () {branch}> "
        "[first] b = Conv(a, w) [second] y = Conv(b, u) }"
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "branching.onnx")
    return str(tmp_path / "branching.onnx")


def test_prune_and_diff_give_no_rate_of_unknown_macs(acgraph, branching, tmp_path):
    small = tmp_path / "small.onnx"
    data = json.loads(acgraph("prune", branching, "-o", small, "--format", "json")[0])
    assert data["rate"]["macs"] is None
    assert data["macs_unknown"] == ["choice"]
    assert data["rate"]["params"] > 1
    text = acgraph("prune", branching)[0]
    assert re.search(r"^MACs: [\d,]+ -> [\d,]+  \(rate unknown\)$", text, re.MULTILINE)
    assert "choice" in text
    text = acgraph("diff", branching, small, code=1)[0]
    assert re.search(r"^MACs: [\d,]+ -> [\d,]+ \(lower bounds\)$", text, re.MULTILINE)
    assert "the MACs of 1 node are unknown: choice" in text


def _net(path: Path, middle: str) -> str:
    """Write Conv, something, Conv."""
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,2,4,4] x) => (float[1,3,4,4] y) '
        f"{{ [first] a = Conv(x, w) {middle} [second] y = Conv(b, u) }}"
    )
    proto = onnx.parser.parse_model(text)
    rng = np.random.default_rng(2)
    shapes = {"w": (6, 2, 1, 1), "u": (3, 6, 1, 1), "s": (6, 4, 4), "t": (6, 4, 4)}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(proto, path)
    return str(path)


def strict(text: str) -> dict:
    """Read JSON as the standard has it, which knows no NaN and no infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_prune_tolerates_numbers_that_differ_where_it_cut_inexactly(acgraph, tmp_path):
    net = _net(tmp_path / "n.onnx", "b = LayerNormalization <axis = 1> (a, s, t)")
    exact = strict(acgraph("prune", net, "--format", "json", code=3)[0])  # nothing may go
    assert exact["inexact"] == []
    assert exact["verify"]["passed"]
    words = ("prune", net, "--allow-inexact", "-o", tmp_path / "small.onnx")
    inexact = strict(acgraph(*words, "--format", "json")[0])
    assert len(inexact["inexact"]) == 1
    assert inexact["after"]["params"] < exact["after"]["params"]
    assert not inexact["verify"]["passed"]
    assert inexact["verify"]["max_rel_error"] > 1e-3
    assert f"failed (inexact cuts, as allowed: {inexact['inexact'][0]})" in acgraph(*words)[0]


@pytest.mark.parametrize("words", [(), ("--allow-inexact",)])
def test_prune_allows_no_failure_of_an_exact_cut(acgraph, tmp_path, words):
    net, small = _net(tmp_path / "n.onnx", "p = Sqrt(a) b = Relu(p)"), tmp_path / "small.onnx"
    reason = "the equivalence check failed: output 'y': NaN in the output"
    out, err = acgraph("prune", net, *words, "-o", small, code=1)
    assert out == ""
    assert reason in err
    out, err = acgraph("prune", net, *words, "-o", small, "--format", "json", code=1)
    error = json.loads(out)["error"]
    assert reason in error["text"]
    assert (error["kind"], error["exit_code"]) == ("VerifyError", 1)
    assert reason in err
    assert not small.exists()


def test_prune_allows_no_nan_of_an_inexact_cut(acgraph, tmp_path):
    middle = "p = Sqrt(a) b = LayerNormalization <axis = 1> (p, s, t)"
    net = _net(tmp_path / "n.onnx", middle)
    assert "NaN" in acgraph("prune", net, "--allow-inexact", "--format", "json", code=1)[1]


def test_prune_says_where_the_check_shows_nothing(acgraph, tmp_path):
    middle = "z = Sub(a, a) b = Relu(z)"
    net = _net(tmp_path / "n.onnx", middle)
    data = strict(acgraph("prune", net, "--format", "json")[0])
    assert data["verify"]["vacuous"]
    assert "inconclusive: no output depends on the inputs" in acgraph("prune", net)[0]


def test_diff_writes_a_page_and_node_data(acgraph, model, tmp_path):
    small, page, data = (tmp_path / name for name in ("s.onnx", "d.html", "d.json"))
    acgraph("prune", model, "-o", small)
    text = acgraph("diff", model, small, "--html", page, "--model-explorer", data, code=1)[0]
    assert text.endswith(f"written to {page}\nwritten to {data}\n")
    assert page.read_text() == acgraph("diff", model, small, "--format", "html", code=1)[0]
    shown = acgraph("diff", model, small, "--format", "model-explorer", code=1)[0]
    assert data.read_text() == shown
    names = {n.name for path in (model, small) for n in onnx.load(path).graph.node}
    (results,) = (entry["results"] for entry in strict(shown).values())
    assert set(results) <= names
    assert results
    out = tmp_path / "same.html"
    acgraph("diff", model, model, "--format", "html", "-o", out)
    assert "The models are the same" in out.read_text()
    assert (
        "d.html" in acgraph("diff", model, small, "--html", tmp_path / "no" / "d.html", code=2)[1]
    )


def test_prune_says_which_layers_were_lowered(acgraph, model):
    words = ("prune", model, "--sparsity", "0", "--columns", "0.9", "--format", "json")
    lowered = json.loads(acgraph(*words)[0])["lowered"]
    assert {"name", "lowering", "columns", "pattern", "remark"} == set(lowered[0])
    assert [x["columns"][0] for x in lowered[:2]] == [27, 72]
    assert all(x["columns"][1] <= x["columns"][0] for x in lowered)


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> str:
    """A network whose compact forms are smaller than its layers, nodes and all."""
    path = tmp_path_factory.mktemp("models") / "wide.onnx"
    write_model(resnet_cifar(8, widths=(48, 48, 48), image=8), path)
    return str(path)


def test_prune_heeds_the_pattern_of_columns(acgraph, wide):
    def lowered(*options):
        words = ("prune", wide, "--sparsity", "0", "--columns", "0.5", "--allow-slower", *options)
        return json.loads(acgraph(*words, "--format", "json")[0])["lowered"]

    convolutions = slice(1, -1)  # the first has three channels, the head no kernel
    assert {x["pattern"] for x in lowered()[convolutions]} == {"free"}
    kernel = lowered("--column-pattern", "kernel")
    found = {x["pattern"] for x in kernel[convolutions]}
    assert found == {"free", "kernel"}  # those of one point have no kernel


def test_prune_heeds_the_multiple_of_columns(acgraph, wide, tmp_path):
    def kept(multiple):
        words = (
            "prune",
            wide,
            "--sparsity",
            "0",
            "--columns",
            "0.5",
            "--allow-slower",
            "--masked-out",
            tmp_path / "z",
        )
        acgraph(*words, "--column-pattern", "balanced", "--column-multiple", multiple)
        weights = [numpy_helper.to_array(w) for w in onnx.load(tmp_path / "z").graph.initializer]
        return [(w != 0).any(axis=0).sum() for w in weights if w.shape[1:] == (48, 3, 3)]

    assert set(kept(1)) == {24 * 9}
    assert set(kept(32)) == {32 * 9}


def test_prune_knows_its_patterns(acgraph, model):
    err = acgraph("prune", model, "--columns", "0.5", "--column-pattern", "kernal", code=2)[1]
    assert "kernal" in err
    assert "balanced" in err


def test_only_one_result_goes_to_stdout(acgraph, model):
    words = ("prune", model, "-o", "-", "--masked-out", "-")
    assert "one result" in acgraph(*words, code=2)[1]
    assert "one result" in acgraph("prune", model, "-o", "-", "--format", "json", code=2)[1]


def test_diff_exits_with_1_when_models_differ(acgraph, model, tmp_path):
    small = tmp_path / "small.onnx"
    acgraph("prune", model, "-o", small)
    assert acgraph("diff", model, model) == ("", "")
    text = acgraph("diff", model, small, code=1)[0]
    assert re.search(r"^layer .*: filters 8 -> 4", text, re.MULTILINE)
    data = json.loads(acgraph("diff", model, small, "--format", "json", code=1)[0])
    assert data["is_empty"] is False
    assert json.loads(acgraph("diff", model, model, "--format", "json")[0])["is_empty"] is True
    assert "\nactivations part at " in acgraph("diff", model, small, "--run", code=1)[0]
    assert acgraph("diff", model, model, "--run")[0].startswith("no activation parts")


def test_diff_exits_with_2_for_any_error(acgraph, model, tmp_path):
    none, text = tmp_path / "none.onnx", tmp_path / "text.onnx"
    text.write_text("no model")
    for words in ((none, model), (model, none), (text, text), (model,), (model, model, "--nosuch")):
        assert acgraph("-v", "diff", *words, code=2)[1].startswith("error: ")
    found = json.loads(acgraph("diff", none, model, "--format", "json", code=2)[0])
    assert found["error"]["exit_code"] == 2
    (tmp_path / "plan.json").write_text("[]")
    assert "error: " in acgraph("diff", model, model, "--plan", tmp_path / "plan.json", code=2)[1]
    assert "error: " in acgraph("diff", model, model, "-o", tmp_path / "no" / "d", code=2)[1]


def test_diff_writes_to_a_file(acgraph, model, tmp_path):
    small, target = tmp_path / "small.onnx", tmp_path / "diff.txt"
    acgraph("prune", model, "-o", small)
    expected = acgraph("diff", model, small, code=1)[0]
    assert acgraph("diff", model, small, "-o", target, code=1)[0] == ""
    assert target.read_text() == expected


def test_diff_offers_only_formats_that_work(acgraph, model):
    assert "not one of" in acgraph("diff", model, model, "--format", "pdf", code=2)[1]


def test_opt_lists_every_pass(acgraph):
    lines = acgraph("opt", "--list-passes")[0].splitlines()
    assert [line.split()[0] for line in lines] == sorted(REGISTRY)
    assert all(len(line.split()) > 3 for line in lines)


def test_opt_prints_statistics_and_times_only_when_asked(acgraph, model):
    words = ("opt", model, "-p", "infer-shapes,eliminate-dead-nodes")
    assert acgraph(*words)[1] == ""
    assert "infer-shapes: shapes written" in acgraph(*words, "--pass-statistics")[1]
    timed = acgraph(*words, "--time-passes")[1].splitlines()
    assert len(timed) == 3
    assert re.fullmatch(r" *\d+\.\d{4} s  100\.0 %  total", timed[-1])


TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,4] x) => (float[1,4] y) { [relu] r = Relu (x)  [neg] y = Neg (r) }
"""


@pytest.mark.parametrize(
    ("when", "times"), [("all", 2), ("change", 1), ("infer-shapes", 2), ("failure", 0)]
)
def test_opt_prints_the_model_after_a_pass(acgraph, tmp_path, when, times):
    path = tmp_path / "m.onnxtxt"
    path.write_text(TEXT)
    words = ("opt", path, "-p", "infer-shapes,infer-shapes", "--print-ir-after")
    err = acgraph(*words, when)[1]
    assert err.count("// ----- after infer-shapes -----") == times
    assert err.count("Relu(%x) @relu") == times


def test_opt_prints_only_after_passes_of_the_pipeline(acgraph, model):
    words = ("opt", model, "-p", "infer-shapes", "--print-ir-after", "nosuch")
    assert "the pipeline has no pass 'nosuch'" in acgraph(*words, code=2)[1]


class CrashError(Exception):
    pass


def break_pass(monkeypatch) -> None:
    def crash(self, model, context):
        raise CrashError("bang")

    monkeypatch.setattr("acgraph.passes.infer_shapes.InferShapes.run", crash)


def test_opt_leaves_a_reproducer(acgraph, model, tmp_path, monkeypatch):
    break_pass(monkeypatch)
    words = ("opt", model, "-p", "eliminate-dead-nodes,infer-shapes", "--dump-dir", tmp_path / "d")
    err = acgraph(*words, code=1)[1]
    assert "pass 'infer-shapes' after eliminate-dead-nodes failed: CrashError: bang" in err
    command = re.search(r"to reproduce: acgraph (opt .*) --debug", err)[1]
    again = command.replace("'", "").split()
    assert "pass 'infer-shapes' failed: CrashError: bang" in acgraph(*again, code=1)[1]
    assert (tmp_path / "d" / "pipeline.txt").read_text() == "infer-shapes\n"


def test_opt_checks_after_each_pass_unless_told_not_to(acgraph, model, monkeypatch, tmp_path):
    from acgraph.passmanager import PassResult

    def damage(self, model, context):
        model.graph.nodes[1].name = model.graph.nodes[0].name
        return PassResult(modified=True)

    monkeypatch.setattr("acgraph.passes.infer_shapes.InferShapes.run", damage)
    words = ("opt", model, "-p", "infer-shapes", "-o", tmp_path / "o.onnx")
    assert "nodes have this name" in acgraph(*words, code=1)[1]
    assert not (tmp_path / "o.onnx").exists()
    acgraph(*words, "--no-verify-each")
    assert (tmp_path / "o.onnx").exists()


def test_opt_gives_the_seed_to_the_passes(acgraph, model, monkeypatch):
    from acgraph.passmanager import PassResult

    seen = []

    def note(self, model, context):
        seen.append(context.seed)
        return PassResult(modified=False)

    monkeypatch.setattr("acgraph.passes.infer_shapes.InferShapes.run", note)
    acgraph("opt", model, "-p", "infer-shapes", "--seed", "7")
    acgraph("opt", model, "-p", "infer-shapes")
    assert seen == [7, 0]
