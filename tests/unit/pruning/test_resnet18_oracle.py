"""The published numbers of a uniform cut of ResNet-18 by half."""

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from acgraph.analysis.cost import model_cost
from acgraph.ir import model_from_proto
from acgraph.models.resnet import resnet18

#: README of Torch-Pruning 1.6: params without running statistics, MACs with BatchNorm and pooling.
BEFORE = (11_689_512, 1.822_177_768e9)
AFTER = (3_055_880, 0.487_202_536e9)


def _trained_params(proto: Any) -> int:
    return sum(
        numpy_helper.to_array(t).size
        for t in proto.graph.initializer
        if t.data_type == 1 and "running" not in t.name
    )


@pytest.fixture(scope="module")
def half(check_equivalence: Any) -> Any:
    return check_equivalence(resnet18(classes=1000, image=224, stem="imagenet"))


def test_params_are_those_published(half: Any) -> None:
    assert _trained_params(half.before) == BEFORE[0]
    assert _trained_params(half.after) == AFTER[0]


def test_macs_are_those_published(half: Any) -> None:
    macs = [model_cost(model_from_proto(p)).macs for p in (half.before, half.after)]
    # ours are those of layers alone: BatchNorm, activations and pooling are half a percent
    assert macs[0] == pytest.approx(BEFORE[1], rel=0.006)
    assert macs[1] == pytest.approx(AFTER[1], rel=0.01)


def test_every_stream_is_cut_by_half(half: Any) -> None:
    free = half.dependency.prunable()
    assert all(half.plan.sets[f.name].sum() * 2 == f.size for f in free)
    assert sum(f.size for f in free) == 64 * 3 + 128 * 3 + 256 * 3 + 512 * 3
    assert np.isfinite(half.error)
