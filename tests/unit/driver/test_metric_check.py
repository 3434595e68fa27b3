"""A target whose rate could not be told is refused before anything is trained."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.errors import UsageError

Configure = Callable[..., CompressConfig]


def test_a_target_of_macs_needs_macs(configure: Configure, tmp_path: Path) -> None:
    branch = "=> (float[N,2] o) { o = MatMul(x, w) }"
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,2] x) => (float[N,2] y) '
        "<float[2,2] w = {1, 2, 3, 4}, bool c = {1}> { [choice] y = If (c) "
        f"<then_branch = a () {branch}, else_branch = b () {branch}> }}"
    )
    path = tmp_path / "if.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    config = configure(
        model=str(path), metric="macs", target_rate="2x", data="noise:8", eval_data=None
    )
    with pytest.raises(UsageError, match="those of 'choice' are unknown") as caught:
        compress(config)
    assert "--metric" in str(caught.value)
    assert not config.output.exists()
