"""The cost of files: params as a reader of the file counts them, bytes as the disk does."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.analysis.cost import file_cost, model_cost
from acgraph.errors import ImportModelError
from acgraph.ir import model_from_proto, shapes, write_model
from acgraph.ir.check import interface
from acgraph.models.resnet import resnet_cifar

SHARED = Path(os.environ.get("ACGRAPH_SHARED", "../shared"))


def _gather_model() -> onnx.ModelProto:
    """Keep 3 of 8 features by an index tensor, then multiply by [3, 4]; one constant is unread."""
    rng = np.random.default_rng(0)
    index = numpy_helper.from_array(np.array([1, 4, 6], np.int64))
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["index"], value=index),
            helper.make_node("Gather", ["x", "index"], ["g"], axis=1),
            helper.make_node("MatMul", ["g", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [
            numpy_helper.from_array(rng.standard_normal((3, 4)).astype(np.float32), "w"),
            numpy_helper.from_array(np.zeros(100, np.float32), "unread"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_index_tensors_are_params() -> None:
    cost = model_cost(model_from_proto(_gather_model()))
    assert cost.params == 3 + 12
    assert cost.macs == 12


def test_the_bytes_of_a_model_are_those_of_its_file(tmp_path: Path) -> None:
    model = model_from_proto(_gather_model())
    path = tmp_path / "m.onnx"
    write_model(model, path)
    assert model_cost(model).bytes == path.stat().st_size
    assert file_cost(path) == model_cost(model)


def test_a_file_is_counted_with_constants_that_nobody_reads(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(_gather_model(), path)
    cost = file_cost(path)
    assert cost.params == 3 + 12 + 100
    assert cost.bytes == path.stat().st_size


def test_weights_beside_the_file_are_bytes_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(_gather_model(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert file_cost(path).bytes >= path.stat().st_size
    assert file_cost(path).bytes >= (tmp_path / "w.bin").stat().st_size + 100


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(ImportModelError, match="no such file") as caught:
        file_cost("/nonexistent/m.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not (SHARED / "zoo").is_dir(), reason="the zoo is not there")
@pytest.mark.parametrize(
    ("name", "megamacs"),
    [
        ("resnet18.legacy", 1814.07),
        ("resnet18.dynamo", 1814.07),
        ("swin_t.legacy", 4490.57),
        ("mobilenet_v3_small.legacy", 56.51),
    ],
)
def test_published_networks(name: str, megamacs: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SHARED / "zoo"))
    monkeypatch.delitem(sys.modules, "zoo", raising=False)
    import zoo

    cost = model_cost(model_from_proto(zoo.load(name)))
    assert cost.macs / 1e6 == pytest.approx(megamacs, abs=0.01)
    assert cost.unknown == ()


def test_shapes_that_are_all_known_are_inferred_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large graphs take most of their time in walks over their nodes."""
    walks: list[object] = []
    real = shapes._Walk.__init__

    def counted(self: shapes._Walk, *arguments: Any) -> None:
        walks.append(self)
        real(self, *arguments)

    monkeypatch.setattr(shapes._Walk, "__init__", counted)
    model = resnet_cifar(8, widths=(4, 8, 8), image=8)
    assert model_cost(model).macs > 0
    assert len(walks) == 1
    assert interface(model).outputs[0][2] is not None
    assert len(walks) == 2
