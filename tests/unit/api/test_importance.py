"""A function of the user's ranks filters."""

from typing import Any

import numpy as np
import onnx
import pytest

import acgraph


@pytest.fixture
def proto(make_net: Any) -> onnx.ModelProto:
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 6, 6), 3, 16))
    y = net.op("Add", x, net.conv(net.op("Relu", net.conv(x, 16, 12)), 12, 16))
    return net.proto(net.conv(y, 16, 4))


def test_what_scores_lowest_goes(proto: onnx.ModelProto) -> None:
    seen: list[tuple[str, tuple[int, ...]]] = []

    def score(name: str, filters: np.ndarray) -> np.ndarray:
        seen.append((name, filters.shape))
        return np.arange(len(filters))[::-1]

    plan = acgraph.prune(proto, sparsity=0.25, importance=score).plan
    removed = {(cut.size, cut.removed) for cut in plan.axes}
    assert removed == {(16, (12, 13, 14, 15)), (12, (9, 10, 11))}
    assert ("c0", (16, 3, 3, 3)) in seen
    assert all(len(shape) == 4 for _, shape in seen), "biases have no say"


@pytest.mark.parametrize("found", [np.ones(3), 1.0, [np.nan] * 16, [[1.0]]])
def test_a_score_of_another_shape_is_refused(proto: onnx.ModelProto, found: Any) -> None:
    with pytest.raises(acgraph.UsageError, match=r"return \d+ finite numbers, one for each filter"):
        acgraph.prune(proto, importance=lambda name, filters: found)
