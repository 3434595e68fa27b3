from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from acgraph.diagnostics import Diagnostic
from acgraph.errors import (
    BackendError,
    PassError,
    PostconditionError,
    PreconditionError,
    VerifyError,
)
from acgraph.ir import read_model
from acgraph.ir.check import fingerprint
from acgraph.ir.text import model_from_text, text_from_model
from acgraph.passmanager import (
    Instrument,
    Pass,
    PassContext,
    PassManager,
    PassResult,
    PrintIr,
    Reproducer,
)

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,4] x) => (float[1,4] y) <float[4] w = {1,2,3,4}>
{ [add] a = Add (x, w)  [relu] y = Relu (a) }
"""


@pytest.fixture
def model():
    return model_from_text(TEXT, "m.onnx")


@dataclass(frozen=True)
class Rename(Pass):
    """Renames the first node."""

    name: ClassVar[str] = "rename"
    to: str = "other"

    def run(self, model, context):
        node = model.graph.nodes[0]
        changed, node.name = node.name != self.to, self.to
        return PassResult(modified=changed, statistics={"renamed": int(changed)})


@dataclass(frozen=True)
class Do(Pass):
    """Calls a function."""

    name: ClassVar[str] = "do"
    function: object = None
    modified: bool = True

    def run(self, model, context):
        self.function(model)
        return PassResult(modified=self.modified)


def run(model, *passes, **options):
    return PassManager(passes, **options).run(model)


def test_passes_run_in_order_and_are_told(model):
    runs = run(model, Rename(to="a1"), Rename(to="a2"), Rename(to="a2"))
    assert model.graph.nodes[0].name == "a2"
    assert [r.text for r in runs] == ["rename{to=a1}", "rename{to=a2}", "rename{to=a2}"]
    assert [r.result.modified for r in runs] == [True, True, False]
    assert all(r.seconds >= 0 for r in runs)


def test_the_context_reaches_the_pass(model):
    @dataclass(frozen=True)
    class Draw(Pass):
        """Draws a number."""

        name: ClassVar[str] = "draw"

        def run(self, model, context):
            return PassResult(modified=False, statistics={"n": int(context.rng().integers(10**9))})

    drawn = [
        PassManager([Draw()]).run(model, PassContext(seed=seed))[0].result.statistics["n"]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_an_error_names_the_pass_and_those_before_it(model):
    def fail(model):
        raise ZeroDivisionError("by zero")

    with pytest.raises(PassError) as caught:
        run(model, Rename(to="a1"), Rename(to="a2"), Do(fail))
    assert str(caught.value) == "pass 'do' after rename, rename failed: ZeroDivisionError: by zero"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_errors_of_the_package_keep_place_and_hint(model):
    def fail(model):
        raise BackendError("boom", location=model.location(model.graph.nodes[0]), hint="try again")

    with pytest.raises(PassError, match=r"m\.onnx: node 'add' .Add.: pass 'do' failed: boom; try"):
        run(model, Do(fail))


def test_a_precondition_stops_before_the_run(model):
    class Picky(Rename):
        name = "picky"

        def requires(self, model, context):
            raise PreconditionError("needs shapes")

    with pytest.raises(PreconditionError, match="pass 'picky' failed: needs shapes"):
        run(model, Picky())
    assert model.graph.nodes[0].name == "add"


def test_a_postcondition_is_checked_after_the_run(model):
    class Sloppy(Rename):
        name = "sloppy"

        def ensures(self, model, context):
            raise PostconditionError("not done")

    with pytest.raises(PostconditionError, match="pass 'sloppy' failed: not done"):
        run(model, Sloppy())


def break_names(model):
    model.graph.nodes[1].name = model.graph.nodes[0].name


def break_order(model):
    model.graph.nodes.reverse()


def make_twice(model):
    a = model.graph.nodes[0].outputs[0]
    model.graph.nodes[1].outputs[0].name = a.name


def lose_output(model):
    model.graph.nodes.pop()


def break_attribute(model):
    model.graph.nodes[1].op = "NoSuchOperator"


def change_shape(model):
    wide = gs.Constant("wide", np.ones((3, 4), np.float32))
    model.graph.nodes[0].inputs[1] = wide
    model.graph.outputs[0].shape = [3, 4]


def drop_input(model):
    model.graph.nodes[0].inputs[0] = gs.Constant("zero", np.zeros((1, 4), np.float32))
    model.graph.inputs.clear()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_names, "2 nodes have this name"),
        (break_order, "it is read before it is produced"),
        (make_twice, "it is produced twice"),
        (lose_output, "no node produces this output"),
        (break_attribute, "onnx.checker: "),
        (change_shape, r"output changed from type 1 and shape \(1, 4\) to 1 and \(3, 4\)"),
        (drop_input, "the inputs changed from"),
    ],
)
def test_a_broken_model_is_found_after_the_pass_that_broke_it(model, damage, words):
    with pytest.raises(PassError, match=f"pass 'do' after rename failed: .*{words}"):
        run(model, Rename(), Do(damage), Rename(to="never"))
    assert model.graph.nodes[0].name != "never"


def test_checks_can_be_turned_off(model):
    run(model, Do(break_names), verify_each=False)
    with pytest.raises(VerifyError, match="2 nodes have this name"):
        run(model, Rename())


@pytest.mark.parametrize(("claim", "did"), [(True, "did not change"), (False, "changed")])
def test_claims_are_checked(model, claim, did):
    action = (lambda model: None) if claim else (lambda model: Rename().run(model, None))
    with pytest.raises(PostconditionError, match=f"but the model {did}"):
        run(model, Do(action, modified=claim), check_claims=True)


def test_true_claims_pass(model):
    runs = run(model, Rename(), Rename(), check_claims=True)
    assert [r.result.modified for r in runs] == [True, False]


def test_fingerprint_sees_weights_names_and_metadata(model):
    seen = {fingerprint(model)}
    model.metadata["k"] = "v"
    seen.add(fingerprint(model))
    model.graph.nodes[0].name = "n"
    seen.add(fingerprint(model))
    old = model.graph.nodes[0].inputs[1]
    model.graph.nodes[0].inputs[1] = gs.Constant("w", old.values + np.float32(1e-7))
    seen.add(fingerprint(model))
    assert len(seen) == 4


@dataclass
class Recorder(Instrument):
    events: list = field(default_factory=list)

    def before_pass(self, one, model):
        self.events.append(("before", one.name))

    def after_pass(self, one, model, result, seconds):
        self.events.append(("after", one.name, result.modified))

    def on_failure(self, one, model):
        self.events.append(("failure", one.name))


def test_instruments_are_told(model):
    recorder = Recorder()
    with pytest.raises(PassError):
        run(model, Rename(), Do(break_names), instruments=[recorder])
    assert recorder.events == [
        ("before", "rename"),
        ("after", "rename", True),
        ("before", "do"),
        ("failure", "do"),
    ]


@pytest.mark.parametrize(
    ("when", "heads"),
    [
        ("all", ["after rename{to=b}", "after rename{to=b}", "failure in do"]),
        ("change", ["after rename{to=b}"]),
        ("failure", ["failure in do"]),
        ("rename", ["after rename{to=b}", "after rename{to=b}"]),
    ],
)
def test_the_model_is_printed_when_asked_for(model, when, heads):
    printed = []
    passes = [Rename(to="b"), Rename(to="b"), Do(break_names)]
    with pytest.raises(PassError):
        run(model, *passes, instruments=[PrintIr(when, printed.append)])
    found = [text.split("-----")[1].strip().split("{function")[0] for text in printed]
    assert found == heads
    assert all("@b" in text for text in printed)


def test_a_failure_can_be_reproduced(model, tmp_path):
    said = []
    before = text_from_model(model)
    folder = tmp_path / "dump"
    with pytest.raises(PassError):
        run(model, Do(break_names), instruments=[Reproducer(folder, said.append)])
    assert text_from_model(read_model(folder / "reproducer.onnx")) == before
    pipeline = (folder / "pipeline.txt").read_text().strip()
    assert pipeline.startswith("do{")
    assert said == [
        f"to reproduce: acgraph opt {folder / 'reproducer.onnx'} -p '{pipeline}' --debug\n"
    ]


def test_remarks_have_a_place(model):
    remark = Diagnostic(message="left alone", location=model.location(model.graph.nodes[0]))
    assert str(remark) == "m.onnx: node 'add' (Add): left alone"
