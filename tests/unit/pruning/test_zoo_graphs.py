"""A few exported graphs of the zoo: the equivalence, how much goes, and how long it takes."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from acgraph.analysis.dependency import analyse
from acgraph.ir import model_from_proto

ZOO = Path(os.environ.get("ACGRAPH_SHARED", "../shared")) / "zoo"
#: The least rate at half; shuffles, depthwise and split convolutions, heads, computed kernels.
LEAST = {
    "mobilenet_v3_small.dynamo": 2.5,
    "shufflenet_v2_x1_0.legacy": 2.5,
    "xcit_nano_12_p16_224.dynamo": 1.8,
    "convnextv2_atto.legacy": 1.6,
}
#: Seconds of processor time to group a network of the size of a ResNet-50, many times over.
SLOW_S = 3.0


@pytest.fixture(scope="module")
def load() -> Any:
    if not ZOO.is_dir():
        pytest.skip(f"no zoo at {ZOO}: set ACGRAPH_SHARED")
    sys.path.insert(0, str(ZOO))
    try:
        import zoo
    finally:
        sys.path.remove(str(ZOO))
    return zoo.load


@pytest.mark.parametrize("name", LEAST)
def test_half_of_an_exported_graph(name: str, load: Any, check_equivalence: Any) -> None:
    assert check_equivalence(load(name)).rate >= LEAST[name]


def test_grouping_takes_no_time(load: Any) -> None:
    model = model_from_proto(load("seresnet50.legacy"))
    start = time.process_time()
    analyse(model)
    assert time.process_time() - start < SLOW_S
