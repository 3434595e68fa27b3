"""Passes of acgraph run in onnx-ir, and its passes in the pass manager of acgraph."""

import sys

import pytest

from acgraph.errors import PassError, UsageError
from acgraph.ir.text import model_from_text
from acgraph.passes.eliminate_dead_nodes import EliminateDeadNodes
from acgraph.passmanager import PassManager
from acgraph.passmanager.onnx_ir_adapter import from_onnx_ir, to_onnx_ir

ir = pytest.importorskip("onnx_ir")

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
g (float[2,3] x) => (float[2,3] y) <float[1] k = {2.0}, float[1] unread = {1.0}>
{
  a = Mul (x, k)
  dead = Exp (x)
  y = Relu (a)
}
"""


def test_a_pass_of_ours_is_one_of_onnx_ir() -> None:
    from acgraph.ir import proto_from_model

    theirs = ir.from_proto(proto_from_model(model_from_text(TEXT)))
    adapted = to_onnx_ir(EliminateDeadNodes())
    assert isinstance(adapted, ir.passes.PassBase)
    result = ir.passes.Sequential(adapted, adapted)(theirs)
    assert result.modified
    assert [node.op_type for node in result.model.graph] == ["Mul", "Relu"]
    assert [node.op_type for node in theirs.graph] == ["Mul", "Exp", "Relu"]
    assert not adapted(result.model).modified


def test_a_pass_of_onnx_ir_runs_in_our_manager() -> None:
    from onnx_ir.passes import common

    model = model_from_text(TEXT)
    (run,) = PassManager([from_onnx_ir(common.RemoveUnusedNodesPass())], check_claims=True).run(
        model
    )
    assert run.result.modified
    assert [node.op for node in model.graph.nodes] == ["Mul", "Relu"]
    assert set(model.constants()) == {"k"}


def test_what_fails_there_is_one_line_here() -> None:
    class Refusing(ir.passes.InPlacePass):  # type: ignore[name-defined,misc]
        def requires(self, model: object) -> None:
            raise ir.passes.PreconditionError("not this one")

        def call(self, model: object) -> object:
            raise AssertionError

    with pytest.raises(PassError, match=r"Refusing: .*not this one") as caught:
        PassManager([from_onnx_ir(Refusing())]).run(model_from_text(TEXT))
    assert "\n" not in str(caught.value)


def test_it_is_needed_for_the_adapter_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    with pytest.raises(UsageError, match="onnx-ir is not installed; pip install"):
        to_onnx_ir(EliminateDeadNodes())
