import pytest

from acgraph.report import (
    Fence,
    LatencyMs,
    LayerChange,
    ModelInfo,
    Report,
    Round,
    SearchPoint,
    Side,
    Target,
    Verification,
    rates_between,
)


@pytest.fixture
def report() -> Report:
    before = Side(
        params=269_722,
        macs=40_551_040,
        bytes=1_098_204,
        latency_ms=LatencyMs(p50=2.41, p90=2.6),
        accuracy=0.9258,
    )
    after = Side(
        params=33_402,
        macs=6_120_300,
        bytes=152_100,
        latency_ms=LatencyMs(p50=0.71, p90=0.8),
        accuracy=0.9191,
    )
    layers = [
        LayerChange(
            name=f"layer{i // 6 + 1}.{i % 6 // 2}.conv{i % 2 + 1}",
            op_type="Conv",
            filters=(16 * 2 ** (i // 6), 16 * 2 ** (i // 6) - 2 * i),
            columns=(144 * 2 ** (i // 6), 90 - i),
            lowering="gather" if i % 3 == 0 else "dense",
        )
        for i in range(12)
    ]
    scores = [0.71, 0.74, 0.7, 0.78, 0.77, 0.8, 0.69, 0.82, 0.81, 0.83]
    return Report(
        model=ModelInfo(path="resnet20.onnx", opset=17, nodes=(56, 71)),
        target=Target(metric="params", rate=8.0, met=True, max_drop=1.0, drop_met=True),
        before=before,
        after=after,
        rate=rates_between(before, after),
        verify=Verification(max_abs_error=3.1e-6, max_rel_error=2.2e-6, passed=True),
        layers=tuple(layers),
        fences=(Fence(node="/fc/Gemm", reason="its output is an output of the model"),),
        rounds=(
            Round(rate=2, accuracy=0.924, epochs=3, seconds=95, evaluations=4),
            Round(rate=4, accuracy=0.921, epochs=3, seconds=62, evaluations=3),
            Round(rate=8.08, accuracy=0.9191, epochs=6, seconds=80, evaluations=3),
        ),
        search=tuple(
            SearchPoint(round=i // 4, score=s, best=max(scores[: i + 1]))
            for i, s in enumerate(scores)
        ),
        seed=7,
        versions={"acgraph": "0.1.0", "onnxruntime": "1.32.0", "torch": "2.13.0"},
        host={"machine": "x86_64", "cores": "2"},
        seconds=243.2,
    )
