"""A target whose rate could not be told is refused before anything is trained."""

from collections.abc import Callable

import onnx
import pytest

from acgraph.config import CompressConfig
from acgraph.driver.stages.target import check_metric
from acgraph.errors import UsageError
from acgraph.ir import model_from_proto

Configure = Callable[..., CompressConfig]


def test_a_target_of_macs_needs_macs(configure: Configure) -> None:
    branch = "=> (float[N,2] o) { o = MatMul(x, w) }"
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,2] x, bool c) => (float[N,2] y) '
        "<float[2,2] w = {1, 2, 3, 4}> { [choice] y = If (c) "
        f"<then_branch = a () {branch}, else_branch = b () {branch}> }}"
    )
    model = model_from_proto(onnx.parser.parse_model(text))
    config = configure(metric="macs", target_rate="2x")
    with pytest.raises(UsageError, match="the MACs of 'choice' are unknown") as caught:
        check_metric(config, model)
    assert "--metric" in str(caught.value)
    check_metric(configure(metric="params", target_rate="2x"), model)
