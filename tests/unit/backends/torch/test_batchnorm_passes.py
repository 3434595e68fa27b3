import numpy as np
import pytest
import torch
from onnx import helper

from acgraph.backends.torch.batchnorm import channel_statistics
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.data import Batch
from acgraph.errors import BackendError, DataError, PreconditionError
from acgraph.ir import clone_model, model_from_proto, proto_from_model
from acgraph.passes.fuse_batchnorm import FuseBatchnorm, fuse_batchnorm
from acgraph.passes.insert_batchnorm import insert_batchnorm, layers_without_batchnorm
from acgraph.passmanager.base import PassContext

N = helper.make_node


def norm_constants(normal, channels, prefix="n"):
    return {
        f"{prefix}.scale": normal(channels),
        f"{prefix}.bias": normal(channels),
        f"{prefix}.mean": normal(channels),
        f"{prefix}.var": np.abs(normal(channels)) + 0.1,
    }


def norm(source, output, prefix="n", **attributes):
    inputs = [source, *(f"{prefix}.{part}" for part in ("scale", "bias", "mean", "var"))]
    return N("BatchNormalization", inputs, [output], name=prefix, **attributes)


LAYERS = {
    "conv": ("Conv", (2, 4, 6, 6), (6, 4, 3, 3), {"pads": [1, 1, 1, 1]}),
    "grouped": ("Conv", (2, 4, 6, 6), (6, 2, 3, 3), {"group": 2}),
    "depthwise": ("Conv", (2, 6, 6, 6), (6, 1, 3, 3), {"group": 6}),
    "1d": ("Conv", (2, 4, 6), (6, 4, 3), {}),
    "transposed": ("ConvTranspose", (2, 4, 5, 5), (4, 6, 3, 3), {"strides": [2, 2]}),
    "transposed grouped": ("ConvTranspose", (2, 4, 5, 5), (4, 3, 3, 3), {"group": 2}),
    "gemm": ("Gemm", (2, 4), (4, 6), {}),
    "gemm scaled": ("Gemm", (2, 4), (6, 4), {"transB": 1, "alpha": 0.5, "beta": 3.0}),
}


@pytest.mark.parametrize("case", LAYERS)
@pytest.mark.parametrize("biased", [True, False])
def test_fuse_keeps_the_function(build, ort, normal, case, biased):
    op, x, w, attributes = LAYERS[case]
    inputs = ["x", "w", "b"] if biased else ["x", "w"]
    nodes = [
        N(op, inputs, ["a"], name="layer", **attributes),
        norm("a", "c", epsilon=1e-3),
        N("Relu", ["c"], ["y"], name="relu"),
    ]
    constants = {"w": normal(*w), **norm_constants(normal, 6)}
    if biased:
        constants["b"] = normal(6)
    feeds = {"x": normal(*x)}
    model = build(nodes, feeds, constants, ["y"])
    (wanted,) = ort(model, feeds)
    assert fuse_batchnorm(model) == 1
    assert [node.op for node in model.graph.nodes] == [op, "Relu"]
    assert model.graph.nodes[0].outputs[0].name == "c"
    np.testing.assert_allclose(ort(model, feeds)[0], wanted, rtol=1e-4, atol=1e-5)


def test_fuse_leaves_what_others_read(build, ort, normal):
    nodes = [
        N("Conv", ["x", "w", "b"], ["a"], name="first"),
        norm("a", "n1"),
        N("Conv", ["n1", "w", "b"], ["c"], name="second"),
        norm("c", "n2", "m"),
        N("Add", ["c", "n2"], ["y"], name="add"),
    ]
    constants = {"w": normal(3, 3, 1, 1), "b": normal(3)}
    constants |= norm_constants(normal, 3) | norm_constants(normal, 3, "m")
    feeds = {"x": normal(2, 3, 4, 4)}
    model = build(nodes, feeds, constants, ["y"])
    (wanted,) = ort(model, feeds)
    assert fuse_batchnorm(model) == 1  # the output of the second is read twice
    np.testing.assert_array_equal(model.constants()["w"], constants["w"])
    np.testing.assert_allclose(ort(model, feeds)[0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reason", ["training", "output", "not a layer", "computed weight"])
def test_fuse_refuses(build, normal, reason):
    middle = N("Relu" if reason == "not a layer" else "Identity", ["x"], ["r"], name="r")
    weight = "wx" if reason == "computed weight" else "w"
    first = N("Conv", ["r", weight], ["a"], name="conv")
    if reason == "not a layer":
        first = N("Relu", ["r"], ["a"], name="relu")
    training = {"training_mode": 1} if reason == "training" else {}
    outputs = ["y", "a"] if reason == "output" else ["y"]
    feeds = {"x": normal(2, 3, 4, 4)}
    if reason == "computed weight":
        feeds["wx"] = normal(3, 3, 1, 1)
    constants = {"w": normal(3, 3, 1, 1), **norm_constants(normal, 3)}
    model = build([middle, first, norm("a", "y", **training)], feeds, constants, outputs, opset=15)
    before = proto_from_model(model)
    assert fuse_batchnorm(model) == 0
    assert proto_from_model(model) == before


def test_fuse_only_the_named(build, normal):
    nodes = [
        N("Conv", ["x", "w1"], ["a"], name="c1"),
        norm("a", "b", "n"),
        N("Conv", ["b", "w2"], ["c"], name="c2"),
        norm("c", "y", "m"),
    ]
    constants = {"w1": normal(3, 3, 1, 1), "w2": normal(3, 3, 1, 1)}
    constants |= norm_constants(normal, 3) | norm_constants(normal, 3, "m")
    model = build(nodes, {"x": normal(1, 3, 2, 2)}, constants, ["y"])
    assert fuse_batchnorm(model, ["m"]) == 1
    assert [node.name for node in model.graph.nodes] == ["c1", "n", "c2"]


def test_the_pass_says_what_it_did(build, normal):
    nodes = [N("Conv", ["x", "w"], ["a"], name="c"), norm("a", "y")]
    constants = {"w": normal(3, 3, 1, 1), **norm_constants(normal, 3)}
    model = build(nodes, {"x": normal(1, 3, 2, 2)}, constants, ["y"])
    first = FuseBatchnorm().run(model, PassContext())
    assert first.modified
    assert first.statistics == {"folded": 1}
    assert not FuseBatchnorm().run(model, PassContext()).modified


@pytest.fixture
def folded(build, normal):
    """Two convolutions, one without bias, and a third that is an output."""
    nodes = [
        N("Conv", ["x", "w1", "b1"], ["a"], name="c1", pads=[1, 1, 1, 1]),
        N("Relu", ["a"], ["r"], name="relu"),
        N("Conv", ["r", "w2"], ["c"], name="c2", group=2),
        N("Relu", ["c"], ["d"], name="relu2"),
        N("Conv", ["d", "w3", "b3"], ["y"], name="head"),
    ]
    constants = {
        "w1": normal(4, 3, 3, 3),
        "b1": normal(4),
        "w2": normal(6, 2, 1, 1),
        "w3": normal(2, 6, 1, 1),
        "b3": normal(2),
    }
    return build(nodes, {"x": normal(4, 3, 6, 6)}, constants, ["y"], shapes={"x": ["n", 3, 6, 6]})


def _batches(arrays):
    return [Batch({"x": x}) for x in arrays]


def measured(model, batches):
    names = layers_without_batchnorm(model)
    return channel_statistics(GraphModule(model), list(names.values()), _batches(batches))


def test_insert_keeps_the_function_and_normalises(folded, ort, normal):
    x = normal(16, 3, 6, 6)
    (wanted,) = ort(folded, {"x": x})
    model = clone_model(folded)
    assert insert_batchnorm(model, measured(folded, [x])) == ["c1/bn", "c2/bn"]
    np.testing.assert_allclose(ort(model, {"x": x})[0], wanted, rtol=1e-4, atol=1e-4)
    module = GraphModule(model).train()  # the batch has the statistics that were measured
    with torch.no_grad():
        found = module(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
    (again,) = ort(folded, {"x": x})
    np.testing.assert_array_equal(again, wanted)  # the original is untouched


def test_insert_then_fuse_is_the_original_network(folded, ort, normal):
    x = normal(16, 3, 6, 6)
    (wanted,) = ort(folded, {"x": x})
    model = clone_model(folded)
    insert_batchnorm(model, measured(folded, [x]))
    assert fuse_batchnorm(model) == 2
    assert [n.name for n in model.graph.nodes] == [n.name for n in folded.graph.nodes]
    np.testing.assert_allclose(ort(model, {"x": x})[0], wanted, rtol=1e-4, atol=1e-4)


def test_factors_of_filters_change_the_weights_not_the_function(folded, ort, normal):
    x = normal(16, 3, 6, 6)
    (wanted,) = ort(folded, {"x": x})
    model = clone_model(folded)
    weights = folded.constants()["w1"]
    factors = np.geomspace(0.01, 100, len(weights))
    insert_batchnorm(model, measured(folded, [x]), epsilon=0.3, factors={"c1": factors})
    found = model.constants()
    np.testing.assert_allclose(found["w1"], factors[:, None, None, None] * weights, rtol=1e-6)
    np.testing.assert_array_equal(found["w2"], folded.constants()["w2"])
    np.testing.assert_array_equal(folded.constants()["w1"], weights)
    np.testing.assert_allclose(ort(model, {"x": x})[0], wanted, rtol=1e-4, atol=1e-4)
    fuse_batchnorm(model)
    np.testing.assert_allclose(model.constants()["w1"], weights, rtol=1e-5)


def test_what_is_inserted_reads_back_as_it_was(folded, normal):
    """A run that goes on from a file must be the run that was not interrupted."""
    insert_batchnorm(folded, measured(folded, [normal(16, 3, 6, 6)]))
    stored = model_from_proto(proto_from_model(folded))
    for model_node, stored_node in zip(folded.graph.nodes, stored.graph.nodes, strict=True):
        for name in ("epsilon", "momentum"):
            assert model_node.attrs.get(name) == stored_node.attrs.get(name)
    fuse_batchnorm(folded)
    fuse_batchnorm(stored)
    for name, value in folded.constants().items():
        np.testing.assert_array_equal(stored.constants()[name], value)


def test_insert_into_the_named_layers_with_the_epsilon(folded, ort, normal):
    statistics = measured(folded, [normal(4, 3, 6, 6)])
    assert insert_batchnorm(folded, statistics, ["c2"], epsilon=0.25) == ["c2/bn"]
    (node,) = [n for n in folded.graph.nodes if n.op == "BatchNormalization"]
    assert node.attrs["epsilon"] == 0.25
    assert insert_batchnorm(folded, statistics) == ["c1/bn"]
    assert insert_batchnorm(folded, statistics) == []


@pytest.mark.parametrize("name", ["head", "relu", "nothing"])
def test_insert_refuses_what_takes_none(folded, normal, name):
    with pytest.raises(PreconditionError, match=f"'{name}'.*no such layer"):
        insert_batchnorm(folded, measured(folded, [normal(4, 3, 6, 6)]), [name])


def test_insert_needs_statistics(folded):
    with pytest.raises(PreconditionError, match=r"node 'c1'.*no statistics"):
        insert_batchnorm(folded, {}, ["c1"])


def test_insert_after_gemm(build, ort, normal):
    nodes = [
        N("Gemm", ["x", "w", "b"], ["a"], name="fc", beta=2.0),
        N("Relu", ["a"], ["y"], name="relu"),
    ]
    feeds = {"x": normal(8, 4)}
    model = build(nodes, feeds, {"w": normal(4, 5), "b": normal(5)}, ["y"])
    (wanted,) = ort(model, feeds)
    statistics = channel_statistics(GraphModule(model), ["a"], [Batch(feeds)])
    assert insert_batchnorm(model, statistics) == []
    assert insert_batchnorm(model, statistics, ["fc"]) == ["fc/bn"]
    np.testing.assert_allclose(ort(model, feeds)[0], wanted, rtol=1e-4, atol=1e-5)


def test_statistics_do_not_depend_on_the_batches(folded, ort, normal):
    x = normal(10, 3, 6, 6) * 3 + 1
    whole = measured(folded, [x])
    parts = measured(folded, [x[:3], x[3:9], x[9:]])
    for name, (mean, var) in whole.items():
        np.testing.assert_allclose(parts[name][0], mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(parts[name][1], var, rtol=1e-5)
    _, watched = GraphModule(folded).eval().run_and_watch(["a"], torch.from_numpy(x))
    values = watched["a"].detach().double().numpy()
    np.testing.assert_allclose(whole["a"][0], values.mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(whole["a"][1], values.var(axis=(0, 2, 3)), rtol=1e-5)


def test_statistics_need_data_and_tensors(folded, normal):
    with pytest.raises(DataError, match="no data"):
        channel_statistics(GraphModule(folded), ["a"], [])
    with pytest.raises(BackendError, match="'nope'"):
        channel_statistics(GraphModule(folded), ["nope"], _batches([normal(1, 3, 6, 6)]))


def test_layers_that_share_a_weight_get_none(build, normal):
    """Each would have statistics of its own, and the weight could not take both up."""
    nodes = [
        N("Conv", ["x", "w"], ["a"], name="left"),
        N("Identity", ["w"], ["same"], name="same"),
        N("Conv", ["z", "same"], ["b"], name="right"),
        N("Add", ["a", "b"], ["c"], name="add"),
        N("Conv", ["c", "v"], ["d"], name="alone"),
        N("Relu", ["d"], ["y"], name="relu"),
    ]
    feeds = {"x": normal(2, 3, 6, 6), "z": normal(2, 3, 6, 6)}
    model = build(nodes, feeds, {"w": normal(4, 3, 3, 3), "v": normal(5, 4, 1, 1)}, ["y"])
    assert layers_without_batchnorm(model) == {"alone": "d"}
