"""Where the batch lies in each input of a model."""

import onnx
import pytest

from acgraph.analysis.batch.inputs import batch_axes
from acgraph.ir import model_from_proto

LSTM = (
    "<float[1,32,4] w, float[1,32,8] r> { y, hn, cn = LSTM <hidden_size = 8> (x, w, r, , , h, c) }"
)


@pytest.mark.parametrize(
    ("inputs", "body", "expected"),
    [
        ("float[N,3] x", "{ y = Relu(x) }", {"x": 0}),
        ("float[4,3] x", "{ y = Relu(x) }", {"x": 0}),
        ("float[T,batch,3] x", "{ y = Relu(x) }", {"x": 1}),
        ("float[batch,3] x, float[] s", "{ y = Mul(x, s) }", {"x": 0, "s": None}),
        # A size that stays as it is where the batch is open is not the batch.
        ("float[batch,3] x, float[1] s", "{ y = Mul(x, s) }", {"x": 0, "s": None}),
        ("float[2,3] x, float[2,3] z", "{ y = Add(x, z) }", {"x": 0, "z": 0}),
        ("float[T,N,4] x, float[1,N,8] h, float[1,N,8] c", LSTM, {"x": 1, "h": 1, "c": 1}),
        ("float[5,1,4] x, float[1,1,8] h, float[1,1,8] c", LSTM, {"x": 1, "h": 1, "c": 1}),
        # One stream of any length: what is open is no batch.
        ("float[T,4] x, float[1,1,8] h, float[1,1,8] c", LSTM, {"x": None, "h": 1, "c": 1}),
        ("float[T,1,4] x, float[1,1,8] h, float[1,1,8] c", LSTM, {"x": 1, "h": 1, "c": 1}),
        ("float[batch,3] x, float[2,batch,3] h", "{ y = Add(x, h) }", {"x": 0, "h": 1}),
        ("float[1,3] x, float[2,1,3] h", "{ y = Add(x, h) }", {"x": 0, "h": 1}),
    ],
)
def test_axes(inputs: str, body: str, expected: dict[str, int | None]) -> None:
    head = '<ir_version: 8, opset_import: ["": 17]> g'
    proto = onnx.parser.parse_model(f"{head} ({inputs}) => (float[a] y) {body}")
    assert batch_axes(model_from_proto(proto)) == expected
