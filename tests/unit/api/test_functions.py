"""Functions of the user's in ``acgraph.compress``: a loss, a metric, a ranking of filters."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import acgraph

X = np.random.default_rng(0).standard_normal((64, 3, 6, 6)).astype(np.float32)
Y = np.arange(64) % 4


@pytest.fixture(scope="module")
def proto(make_net: Any) -> onnx.ModelProto:
    net = make_net()
    x = net.op("Relu", net.conv(net.input("n", 3, 6, 6), 3, 16))
    x = net.op("Relu", net.conv(x, 16, 12))
    return net.proto(net.gemm(net.op("Flatten", net.op("GlobalAveragePool", x)), 12, 4))


def _compress(proto: onnx.ModelProto, **options: Any) -> acgraph.CompressResult:
    fast: dict[str, Any] = {
        "data": (X, Y), "target_rate": 1.5, "epochs": 1, "evaluations": 2, "no_timing": True,
        "threads": 1, "columns": False, "batch_size": 32, "rounds": 1,
    }  # fmt: skip
    fixed = {"train.precision": "fp32", "train.channels_last": False, "purify": False}
    return acgraph.compress(proto, **{**fast, **options}, set=fixed)


def _small_bias(outputs: tuple[torch.Tensor, ...], y: Any, teacher: Any) -> torch.Tensor:
    return outputs[0].square().mean()


def test_training_minimises_a_loss_that_is_given(proto: onnx.ModelProto) -> None:
    seen: list[tuple[Any, ...]] = []

    def loss(outputs: Any, y: Any, teacher: Any) -> torch.Tensor:
        seen.append((outputs[0].shape, y.shape, teacher[0].shape))
        return _small_bias(outputs, y, teacher)

    sizes = [
        np.square(_run(_compress(proto, epochs=8, learning_rate=0.05, **given).model)).mean()
        for given in ({}, {"loss": loss})
    ]
    assert sizes[1] < 0.5 * sizes[0]
    count = seen[0][0][0]
    assert seen[0] == ((count, 4), (count,), (count, 4))


def _run(model: acgraph.Model) -> np.ndarray:
    from acgraph.backends.ort.session import Session

    session = Session(model)
    return np.asarray(next(iter(session.run({session.inputs[0].name: X}).values())))


def test_a_function_judges_the_search_and_the_report(proto: onnx.ModelProto) -> None:
    calls: list[tuple[int, ...]] = []

    def evaluate(outputs: tuple[np.ndarray, ...], labels: np.ndarray | None) -> float:
        assert labels is not None
        calls.append((outputs[0].shape[1], len(labels) - len(outputs[0])))
        return float(np.mean(outputs[0][:, 0] > outputs[0][:, 1]))

    report = _compress(proto, evaluate=evaluate, epochs=0).report
    assert report.measure == "own score"
    assert set(calls) == {(4, 0)}
    assert report.before.accuracy is not None
    outputs = _run(acgraph.ir.model_from_proto(proto))
    # The split that a run makes of 64 examples: of a fifth, every other one is reported.
    order = np.sort(np.random.default_rng(0).permutation(64)[:12])[1::2]
    wanted = np.mean(outputs[order, 0] > outputs[order, 1])
    assert report.before.accuracy == pytest.approx(float(wanted))


def test_a_function_says_which_filters_go(proto: onnx.ModelProto) -> None:
    def last_go(name: str, filters: np.ndarray) -> np.ndarray:
        return -np.arange(len(filters))

    plan = _compress(proto, importance=last_go, target_rate=2).plan
    cuts = [cut for cut in plan.axes if cut.removed]
    assert cuts
    for cut in cuts:
        assert cut.removed == tuple(range(cut.size - len(cut.removed), cut.size))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": lambda outputs, y, teacher: 1.0}, "loss: returned a float"),
        (
            {"loss": lambda outputs, y, teacher: outputs[0]},
            r"loss: returned a Tensor of shape \[",
        ),
        ({"loss": lambda outputs, y, teacher: outputs[0].detach().mean()}, "has no gradient"),
        ({"evaluate": lambda outputs, y: np.nan}, "evaluate: returned nan"),
        ({"evaluate": lambda outputs, y: outputs[0]}, "evaluate: returned a ndarray"),
        ({"evaluate": 3}, "evaluate: input should be callable"),
        ({"importance": lambda name, w: [1.0]}, "importance: gave an array of shape"),
        (
            {"loss": _small_bias, "distill_weight": 0.5},
            "distill_weight belongs to the built-in loss",
        ),
        ({"importance": len, "columns_only": True, "columns": True}, "only columns are cut"),
    ],
)
def test_what_a_function_cannot_mean_is_refused(
    proto: onnx.ModelProto, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(acgraph.UsageError, match=message):
        _compress(proto, **given)


def test_functions_stay_in_their_process(proto: onnx.ModelProto) -> None:
    with pytest.raises(acgraph.UsageError, match="evaluate is a function of this process"):
        acgraph.compress(
            proto, data=X, target_rate=2, evaluate=lambda o, y: 1.0, set={"search.workers": 2}
        )


def test_a_run_goes_on_with_functions_of_the_same_names(
    proto: onnx.ModelProto, tmp_path: Path
) -> None:
    done = _compress(proto, loss=_small_bias, output=tmp_path / "out")
    for given, named in (
        ({}, "no function"), ({"loss": _compress}, "_compress"),
        ({"loss": _small_bias, "evaluate": _compress}, "with evaluate no function"),
    ):  # fmt: skip
        with pytest.raises(acgraph.UsageError, match=named):
            acgraph.compress(proto, data=(X, Y), resume=tmp_path / "out", **given)
    again = acgraph.compress(proto, data=(X, Y), resume=tmp_path / "out", loss=_small_bias)
    assert again.report.after.params == done.report.after.params
