"""The Python of README.md runs as it stands there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import acgraph

README = Path(__file__).parents[3] / "README.md"


@pytest.mark.slow
def test_the_python_of_the_readme_runs(
    make_net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = make_net()
    x = net.input("n", 3, 6, 6)
    for number, (i, o) in enumerate([(3, 32), (32, 40), (40, 24)]):
        weights = [net.w(o, i, 3, 3), net.w(o)]
        x = net.op("Relu", net.op("Conv", x, *weights, name=f"body.{number}", pads=[1] * 4))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    proto = net.proto(net.op("Gemm", x, net.w(4, 24), net.w(4), transB=1, name="head"))
    onnx.save(proto, str(tmp_path / "model.onnx"))
    images = np.random.default_rng(0).standard_normal((48, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "train.npz", x=images, y=np.arange(48) % 4)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    result, again = names["result"], names["again"]
    assert (4, 24) in {value.shape for value in result.model.constants().values()}
    shapes = [sorted(v.shape for v in m.constants().values()) for m in (result.model, again.model)]
    assert shapes[0] == shapes[1]
    assert (tmp_path / "results" / "report.html").is_file()
    assert isinstance(names["pruned"], acgraph.PruneResult)
    assert names["faster"] > 0
