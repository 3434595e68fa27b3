import subprocess
import sys

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from acgraph.errors import ImportModelError
from acgraph.ir import clone_model, model_from_proto
from acgraph.ir.text import model_from_text, read_text, text_from_model
from acgraph.models.resnet import resnet_cifar

TEXT = """<ir_version: 8, opset_import: ["" : 17, "custom" : 1], metadata_props: ["k" : "v"]>
# a comment
g (float[N,4] x, bool c) => (float[N,4] y)
<float[4] small = {1, 2.5, 3, 4}, float[2,8] large = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}>
{
  [add] a = Add (x, small)
  [mine] b = custom.Op <level = 3, names = ["p", "q"], ratio = 0.1> (a, large)
  [if] y = If (c) <then_branch = t () => (float[N,4] p) { p = Neg (b) },
                   else_branch = e () => (float[N,4] q) { q = Relu (b) }>
}
"""
EXPECTED = """graph "g" opset 17
metadata "k" = "v"
input %x: float32[N, 4]
input %c: bool
%a = Add(%x, float32[4] {1, 2.5, 3, 4}) @add
%large = const float32[2, 8] #HASH
%b = custom.Op(%a, %large) {level=3, names=["p", "q"], ratio=0.1} @mine
%y: float32[N, 4] = If(%c) @if
  else_branch():
    %q: float32[N, 4] = Relu(%b) @
    yield %q
  then_branch():
    %p: float32[N, 4] = Neg(%b) @
    yield %p
output %y
"""


def test_text_is_as_documented():
    import hashlib

    large = np.arange(1, 17, dtype=np.float32).tobytes()
    expected = EXPECTED.replace("HASH", hashlib.sha256(large).hexdigest()[:8])
    found = text_from_model(model_from_text(TEXT)).replace("input %c: bool[]", "input %c: bool")
    assert found == expected


def test_text_tells_models_apart_by_one_value():
    model = model_from_text(TEXT)
    other = clone_model(model)
    node = other.graph.nodes[1]
    changed = node.inputs[1].values.copy()
    changed[1, 7] += np.float32(1e-6) * 16
    node.inputs[1] = gs.Constant("large", changed)
    assert text_from_model(other) != text_from_model(model)


def test_text_is_the_same_in_another_process():
    code = (
        "from acgraph.models.resnet import resnet_cifar\n"
        "from acgraph.ir.text import text_from_model\n"
        "print(text_from_model(resnet_cifar(8)), end='')"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout == text_from_model(resnet_cifar(8))


def test_odd_names_are_quoted():
    node = onnx.helper.make_node("Relu", ["in put"], ["out\tput"], name="n")
    make = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], "g", [make("in put", 1, [1])], [make("out\tput", 1, [1])]
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    proto = onnx.helper.make_model(graph, opset_imports=opset)
    text = text_from_model(model_from_proto(proto))
    assert '%"in put"' in text
    assert text.count("\n") == 4


def test_wrong_text_names_the_line():
    with pytest.raises(ImportModelError, match=r"^t: line 3, column \d+: Expected"):
        model_from_text(TEXT.replace("(float[N,4] x,", "(float[N,4 x,"), "t")


def test_invalid_model_is_refused():
    with pytest.raises(ImportModelError, match="not a valid ONNX model"):
        model_from_text(TEXT.replace("Add (x, small)", "NoSuchOp (x, small)"))


def test_missing_text_file(tmp_path):
    with pytest.raises(ImportModelError, match="cannot be read as text"):
        read_text(str(tmp_path / "none.onnxtxt"))
