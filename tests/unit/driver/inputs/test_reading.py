"""What was replaced when a file was read is compared with the file before anything is cut."""

from pathlib import Path
from typing import Any

import onnx
import pytest

from acgraph.config import CompressConfig
from acgraph.driver.compress import compress
from acgraph.driver.inputs.reading import check_reading
from acgraph.driver.prune import prune
from acgraph.errors import UnsupportedOpError, VerifyError
from acgraph.ir import read_model


def _fused(net: Any, path: Path) -> str:
    x = net.op(
        "FusedConv", net.input(1, 3, 6, 6), net.w(8, 3, 3, 3), domain="com.microsoft",
        activation="LeakyRelu", activation_params=[0.25], name="fused",
    )  # fmt: skip
    proto = net.proto(net.op("Conv", x, net.w(2, 8, 1, 1)))
    proto.graph.output[0].type.tensor_type.shape.CopyFrom(
        onnx.helper.make_tensor_type_proto(1, [1, 2, 4, 4]).tensor_type.shape
    )
    onnx.save(proto, path)
    return str(path)


def test_prune_says_what_it_replaced(make_net: Any, tmp_path: Path) -> None:
    result = prune(read_model(_fused(make_net(), tmp_path / "m.onnx")))
    assert any("1 FusedConv" in remark for remark in result.remarks)
    assert result.after.params < 0.6 * result.before.params


def test_a_replacement_that_computes_something_else_is_caught(
    make_net: Any, tmp_path: Path
) -> None:
    model = read_model(_fused(make_net(), tmp_path / "m.onnx"))
    check_reading(model)
    next(node for node in model.graph.nodes if node.op == "LeakyRelu").attrs["alpha"] = 0.2
    with pytest.raises(
        VerifyError, match="the standard operators that replace FusedConv compute something else"
    ):
        prune(model)


def test_compress_names_what_it_cannot_train_before_anything_else(
    make_net: Any, tmp_path: Path
) -> None:
    net = make_net()
    x = net.op("Inverse", net.input(1, 1, 3, 3), domain="com.microsoft", name="odd")
    x = net.op("Unique", x, outputs=4, name="apart")[0]
    onnx.save(net.proto(net.op("Relu", x)), tmp_path / "m.onnx")
    asked = CompressConfig(model=str(tmp_path / "m.onnx"), output=tmp_path / "out", target_rate=2)
    with pytest.raises(UnsupportedOpError) as caught:
        compress(asked)
    message = str(caught.value)
    assert "com.microsoft.Inverse (node 'odd')" in message
    assert "ai.onnx.Unique (node 'apart')" in message
    assert "use acgraph prune, which needs no training" in message
    assert not (tmp_path / "out").exists()
