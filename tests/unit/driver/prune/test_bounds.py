"""Layers that the user keeps whole, or bounds, are cut no further; the rest is cut as before."""

from typing import Any

import numpy as np
import pytest

from acgraph.analysis.dependency import analyse
from acgraph.analysis.layer_patterns import bound_layers
from acgraph.driver.prune.magnitude import prune
from acgraph.errors import UsageError
from acgraph.ir import Model, model_from_proto


@pytest.fixture
def chain(make_net: Any) -> Model:
    """Three convolutions: 3 -> 16 -> 20 -> 8, and a head."""
    net = make_net()
    x = net.input(1, 3, 8, 8)
    sizes = [(3, 16), (16, 20), (20, 8)]
    for number, (i, o) in enumerate(sizes):
        name = f"body.{number}"
        weights = [net.w(o, i, 3, 3, name=f"{name}.weight"), net.w(o)]
        x = net.op("Relu", net.op("Conv", x, *weights, name=name, pads=[1] * 4))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return model_from_proto(net.proto(net.gemm(x, 8, 4)))


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: value.shape for name, value in model.constants().items()}


def test_a_kept_layer_keeps_its_filters_and_its_columns(chain: Model) -> None:
    result = prune(chain, sparsity=0.5, columns=0.5, keep=["body.1"], allow_slower=True)
    after = _shapes(result.model)
    assert after["body.1.weight"] == (20, 16, 3, 3)
    assert after["body.0.weight"][0] == 16, "its filters are the columns of the kept layer"
    assert result.plan.sets.keys() == {"body.2"}
    assert next((f.location.node, f.message) for f in result.fences) == (
        "body.1", "kept by --keep 'body.1'"
    )  # fmt: skip
    assert {x.name: x.remark for x in result.lowered}["body.1"] == "kept by --keep 'body.1'"
    assert chain.bounds == {}, "what was given stays as it is"


def test_a_layer_is_named_by_its_weight_as_well(chain: Model) -> None:
    assert bound_layers(chain, ["body.2.w*"]).keys() == {"body.2"}
    assert bound_layers(chain, [r"re:^body\.[01]$"]).keys() == {"body.0", "body.1"}
    assert bound_layers(chain, ["re:weight"]).keys() == {"body.0", "body.1", "body.2"}


def test_columns_of_a_kept_layer_stay_though_they_are_zero(make_net: Any) -> None:
    net = make_net()
    x = net.input(1, 8, 8, 8)
    weight = np.ones((8, 8, 3, 3), np.float32)
    weight[:, :4] = 0
    x = net.op("Conv", x, net.const(weight, "w"), name="stem", pads=[1] * 4)
    model = model_from_proto(net.proto(net.conv(net.op("Relu", x), 8, 16)))
    assert _shapes(prune(model, columns=0.1, allow_slower=True).model).get("w") != (8, 8, 3, 3)
    kept = prune(model, columns=0.1, keep=["stem"], allow_slower=True)
    assert _shapes(kept.model)["w"] == (8, 8, 3, 3)


@pytest.mark.parametrize(("rate", "filters"), [(1.25, 13), (1.5, 11), (2.0, 8), (8.0, 8)])
def test_a_rate_bounds_the_filters_of_a_layer(chain: Model, rate: float, filters: int) -> None:
    result = prune(chain, sparsity=0.5, layer_rate={"body.0": rate})
    assert _shapes(result.model)["body.0.weight"][0] == filters
    assert result.verify.passed


def test_a_rate_bounds_the_input_channels_of_a_layer(chain: Model) -> None:
    result = prune(chain, sparsity=0.5, layer_rate={"body.1": 1.25})
    assert _shapes(result.model)["body.1.weight"][:2] == (16, 13)


def test_a_rate_bounds_channels_and_columns_together(chain: Model) -> None:
    result = prune(chain, sparsity=0.2, columns=0.9, layer_rate={"body.1": 4.0}, allow_slower=True)
    columns = {x.name: (x.columns_before, x.columns_after) for x in result.lowered}
    assert columns["body.1"] == (144, 36)
    assert columns["body.2"][1] < 144
    assert result.verify.passed


def test_the_lowest_of_several_bounds_counts(chain: Model) -> None:
    bounds = bound_layers(chain, ["body.2"], {"body.*": 4.0, "body.1": 2.0}, 3.0)
    assert {name: bound.reason for name, bound in bounds.items()} == {
        "body.0": "kept by --max-layer-rate 3x",
        "body.1": "kept by --layer-rate 'body.1=2x'",
        "body.2": "kept by --keep 'body.2'",
        "Gemm_8": "kept by --max-layer-rate 3x",
    }


def test_a_bound_that_leaves_nothing_to_cut_is_a_fence(chain: Model) -> None:
    chain.bounds = bound_layers(chain, layer_rate={"body.2": 1.1})
    family = analyse(chain).family("body.2")
    assert not family.is_prunable
    assert [str(fence) for fence in family.fences] == [
        "<memory>: node 'body.2' (Conv): kept by --layer-rate 'body.2=1.1x'"
    ]


def test_align_does_not_cut_below_a_bound(chain: Model) -> None:
    result = prune(chain, sparsity=0.5, align=8, layer_rate={"body.1": 1.5})
    assert _shapes(result.model)["body.1.weight"][0] == 16


def test_a_sum_is_bounded_by_each_of_its_layers(make_net: Any) -> None:
    net = make_net()
    x = net.input(1, 3, 8, 8)
    stem = net.conv(x, 3, 16)
    y = net.op("Add", stem, net.conv(net.op("Relu", stem), 16, 16))
    model = model_from_proto(net.proto(net.conv(y, 16, 4)))
    result = prune(model, sparsity=0.75, layer_rate={"Conv_2": 1.6})
    assert result.model.constants()["c0"].shape[0] == 10
    assert prune(model, sparsity=0.75, keep=["Conv_2"]).plan.sets == {}


def test_heads_are_bounded_as_well_as_their_features(make_net: Any) -> None:
    net = make_net()
    x = net.input(1, 6, 16)
    split = net.op("Reshape", net.op("MatMul", x, net.w(16, 24), name="q"), net.ints(1, 6, 4, 6))
    heads = net.op("Transpose", net.op("Relu", split), perm=[0, 2, 1, 3])
    merged = net.op("Reshape", net.op("Transpose", heads, perm=[0, 2, 1, 3]), net.ints(1, 6, 24))
    model = model_from_proto(net.proto(net.op("MatMul", merged, net.w(24, 8), name="out")))
    free = prune(model, sparsity=0.5)
    bound = prune(model, sparsity=0.5, layer_rate={"q": 1.25})
    before, after = (x.model.constants()["c0"].shape[1] for x in (free, bound))
    assert before == 12
    assert 20 <= after < 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": ["body_1"]}, "--keep 'body_1' matches no layer; did you mean 'body.1'"),
        ({"keep": ["Body*"]}, "--keep 'Body*' matches no layer; did you mean 'body."),
        ({"keep": ["zzz"]}, "--keep 'zzz' matches no layer; acgraph inspect lists the layers"),
        ({"keep": ["re:("]}, "--keep 're:(' is not a regular expression: missing )"),
        ({"layer_rate": {"head*": 2.0}}, "--layer-rate 'head*' matches no layer"),
        ({"keep": ["Relu_1"]}, "--keep 'Relu_1' matches no layer"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error_that_names_near_ones(
    chain: Model, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        prune(chain, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
