"""What outputs are taken for is said before a run, and can be stated."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from acgraph.config_merge import make_config
from acgraph.data import ArrayDataset
from acgraph.driver.inputs.data import RunData
from acgraph.driver.inputs.tasks import describe_tasks, with_tasks
from acgraph.errors import UsageError
from acgraph.ir import read_model
from acgraph.tasks import OutputTask

RNG = np.random.default_rng(0)


@pytest.fixture
def landmarks(tmp_path):
    """A network whose six outputs keep their places; nothing in its graph says what they are."""
    path = tmp_path / "m.onnx"
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]),
             helper.make_node("Add", ["h", "places"], ["y"])]  # fmt: skip
    values = {"w": np.full((3, 6), 0.01, np.float32),
              "places": np.array([0, 3, 1, 5, 2, 9], np.float32)}  # fmt: skip
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 6))],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              str(path))  # fmt: skip
    return path


def _opened(path, **options):
    x = RNG.standard_normal((40, 3)).astype(np.float32)
    parts = (ArrayDataset(x, name="x") for _ in range(3))
    config = make_config({"model": str(path), "target_rate": 2, "data": "x.npz", **options})
    return with_tasks(config, read_model(path), RunData(*parts)).tasks


def test_values_of_the_original_decide_where_the_graph_is_silent(landmarks):
    (task,) = _opened(landmarks)
    assert (task.kind, task.axis) == ("regression", 1)
    (task,) = _opened(landmarks, data="noise:40")
    assert task.kind == "imitate"


def test_a_stated_task_holds(landmarks):
    (task,) = _opened(landmarks, task="embedding")
    assert (task.kind, task.reason) == ("embedding", "as stated")
    with pytest.raises(UsageError, match="no output 'z'"):
        _opened(landmarks, task=["z=ctc"])


def test_the_lines_name_output_task_and_reason():
    boxes = OutputTask(
        output="scores", kind="classification", reason="it ends in Softmax",
        shape=(1, 1000),
    )  # fmt: skip
    assert describe_tasks([boxes]) == [
        "output 'scores' [N, 1000] is treated as classification (it ends in Softmax); "
        "use --task to change this"
    ]
    maps = [OutputTask(output=name, kind="imitate", reason="nothing indicates another task")
            for name in "abc"]  # fmt: skip
    lines = describe_tasks([*maps, boxes])
    assert lines[0].startswith("output 'a' and 2 more are imitated (nothing indicates")
    assert len(lines) == 2
