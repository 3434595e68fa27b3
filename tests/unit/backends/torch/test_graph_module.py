import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

from acgraph.backends.torch.export import export_model
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.visit import peak_bytes, visit
from acgraph.backends.torch.weights import find_weights
from acgraph.errors import BackendError, DataError, UnsupportedOpError
from acgraph.ir import clone_model, proto_from_model
from acgraph.operators import Role
from acgraph.passes.untie_constants import untie_constants


@pytest.fixture
def conv_bn(build, normal):
    """Conv, BatchNormalization, Relu, Dropout, Gemm; the batch is free."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node(
            "BatchNormalization", ["c", "g", "s", "m", "v"], ["n"], name="bn", momentum=0.7
        ),
        helper.make_node("Relu", ["n"], ["r"], name="relu"),
        helper.make_node("Dropout", ["r", "ratio"], ["d"], name="drop"),
        helper.make_node("GlobalAveragePool", ["d"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], name="fc", transB=1),
    ]
    constants = {
        "w": normal(4, 3, 3, 3),
        "b": normal(4),
        "g": normal(4),
        "s": normal(4),
        "m": normal(4),
        "v": np.abs(normal(4)) + 0.5,
        "ratio": np.array(0.5, np.float32),
        "fc.weight": normal(5, 4),
        "fc.bias": normal(5),
    }
    feeds = {"x": normal(2, 3, 6, 6)}
    return build(nodes, feeds, constants, ["y"], shapes={"x": ["batch", 3, 6, 6]})


def changed(module):
    """Add one to every weight."""
    module.load_weights({name: value + 1 for name, value in module.weights().items()})


def test_parameters_carry_onnx_names(conv_bn):
    module = GraphModule(conv_bn)
    assert set(module.parameter_names().values()) == {"w", "b", "g", "s", "fc.weight", "fc.bias"}
    assert set(module.parameter_names()) == {name for name, _ in module.named_parameters()}
    assert set(module.weights()) == {"w", "b", "g", "s", "m", "v", "fc.weight", "fc.bias"}
    assert module.parameter("fc.weight").shape == (5, 4)
    with pytest.raises(BackendError, match="not a trainable constant"):
        module.parameter("m")


def test_export_without_training_is_the_same_file(conv_bn):
    exported = export_model(GraphModule(conv_bn), conv_bn)
    assert proto_from_model(exported) == proto_from_model(conv_bn)


def test_export_runs_as_trained(conv_bn, ort, normal):
    before = {name: value.copy() for name, value in conv_bn.constants().items()}
    module = GraphModule(conv_bn).eval()
    changed(module)
    exported = export_model(module, conv_bn)
    x = normal(3, 3, 6, 6)
    (wanted,) = ort(exported, {"x": x})
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(x))[0].numpy(), wanted, rtol=1e-4)
    for name, value in conv_bn.constants().items():
        np.testing.assert_array_equal(value, before[name])


def test_export_refuses_another_model(conv_bn, build, normal):
    other = build([helper.make_node("Relu", ["x"], ["y"], name="r")], {"x": normal(2)}, {}, ["y"])
    with pytest.raises(BackendError, match="no such constant"):
        export_model(GraphModule(conv_bn), other)


def test_load_weights_checks_names_and_shapes(conv_bn):
    module = GraphModule(conv_bn)
    with pytest.raises(BackendError, match="'nope'"):
        module.load_weights({"nope": np.zeros(3, np.float32)})
    with pytest.raises(BackendError, match=r"has shape \(4,\), but the value \(3,\)"):
        module.load_weights({"b": np.zeros(3, np.float32)})


def test_batch_norm_trains_as_torch_does(conv_bn, normal):
    module = GraphModule(conv_bn).train()
    torch.manual_seed(0)
    before = module.weights()
    twin = torch.nn.BatchNorm2d(4, momentum=0.3)
    with torch.no_grad():
        twin.running_mean.copy_(torch.from_numpy(before["m"]))
        twin.running_var.copy_(torch.from_numpy(before["v"]))
        x = torch.from_numpy(normal(8, 3, 6, 6))
        _, watched = module.run_and_watch(["c"], x)
        twin(watched["c"])
    after = module.weights()
    np.testing.assert_allclose(after["m"], twin.running_mean.numpy(), rtol=1e-6)
    np.testing.assert_allclose(after["v"], twin.running_var.numpy(), rtol=1e-6)
    assert not np.allclose(after["m"], before["m"])


def test_momentum_can_be_replaced(conv_bn, normal):
    module = GraphModule(conv_bn).train()
    x = torch.from_numpy(normal(8, 3, 6, 6))
    module.momentum = 1.0
    _, watched = module.run_and_watch(["c"], x)
    mean = watched["c"].mean(dim=(0, 2, 3)).detach().numpy()
    np.testing.assert_allclose(module.weights()["m"], mean, atol=1e-6)


def test_eval_leaves_statistics_alone(conv_bn, normal):
    module = GraphModule(conv_bn).eval()
    before = module.weights()
    module(torch.from_numpy(normal(8, 3, 6, 6)))
    for name, value in module.weights().items():
        np.testing.assert_array_equal(value, before[name])


def test_dropout_drops_only_in_training(conv_bn, normal):
    module = GraphModule(conv_bn)
    x = torch.from_numpy(normal(4, 3, 6, 6))

    def survivors():
        _, watched = module.run_and_watch(["r", "d"], x)
        alive = watched["r"] > 0
        return float((watched["d"][alive] > 0).float().mean())

    module.eval()
    assert survivors() == 1.0
    module.train()
    torch.manual_seed(0)
    assert 0.3 < survivors() < 0.7


def test_gradients_reach_every_weight(conv_bn, normal):
    module = GraphModule(conv_bn).train()
    module(torch.from_numpy(normal(4, 3, 6, 6)))[0].square().sum().backward()
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        if parameter is not module.parameter("b"):  # BatchNormalization takes its mean away
            assert parameter.grad.abs().max() > 0


def test_copies_are_independent(conv_bn, normal):
    module = GraphModule(conv_bn).eval()
    x = torch.from_numpy(normal(2, 3, 6, 6))
    wanted = module(x)[0].detach()
    twin = copy.deepcopy(module)
    changed(twin)
    torch.testing.assert_close(module(x)[0].detach(), wanted)
    assert not torch.allclose(twin(x)[0], wanted)


def test_state_goes_through_a_state_dict(conv_bn, normal):
    module, twin = GraphModule(conv_bn).eval(), GraphModule(conv_bn).eval()
    changed(module)
    twin.load_state_dict(module.state_dict())
    x = torch.from_numpy(normal(2, 3, 6, 6))
    torch.testing.assert_close(twin(x)[0], module(x)[0])


def test_all_missing_operators_are_named_at_once(build, normal):
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="fine"),
        helper.make_node("STFT", ["b", "k"], ["y"], name="second"),
    ]
    model = build(nodes, {"x": normal(2, 4, 4)}, {"k": np.array(1)}, ["y"])
    with pytest.raises(UnsupportedOpError, match=r"ai.onnx.Det \(node 'first'.*'second'"):
        GraphModule(model)


def test_an_unsupported_form_is_named_before_running(build, normal):
    nodes = [helper.make_node("MaxPool", ["x"], ["y", "i"], name="pool", kernel_shape=[2, 2])]
    model = build(nodes, {"x": normal(1, 1, 4, 4)}, {}, ["y", "i"])
    with pytest.raises(UnsupportedOpError, match=r"node 'pool'.*Indices output of MaxPool"):
        GraphModule(model)


def test_a_failing_kernel_names_its_node(conv_bn, normal):
    module = GraphModule(conv_bn)
    with pytest.raises(BackendError, match=r"node 'conv' \(Conv\)"):
        module(torch.from_numpy(normal(2, 5, 6, 6)))


def test_inputs_are_counted(conv_bn):
    with pytest.raises(DataError, match="has 1 inputs, not 2"):
        GraphModule(conv_bn)(torch.zeros(1), torch.zeros(1))


def test_shape_arithmetic_is_done_once_for_each_size(build, normal, monkeypatch):
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], name="shape"),
        helper.make_node("Gather", ["s", "zero"], ["n"], name="gather"),
        helper.make_node("Unsqueeze", ["n", "zero1"], ["n1"], name="unsqueeze"),
        helper.make_node("Concat", ["n1", "rest"], ["t"], name="concat", axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"], name="reshape"),
    ]
    constants = {"zero": np.array(0), "zero1": np.array([0]), "rest": np.array([-1])}
    model = build(nodes, {"x": normal(2, 3, 4)}, constants, ["y"], shapes={"x": ["n", 3, 4]})
    module = GraphModule(model).eval()
    for size in (2, 5, 2):
        assert module(torch.zeros(size, 3, 4))[0].shape == (size, 12)
    plan = module._plan([torch.zeros(5, 3, 4)], ())
    assert [step.node.name for step in plan.steps] == ["reshape"]


def test_memory_is_freed_after_the_last_use(conv_bn):
    module = GraphModule(conv_bn)
    plan = module._plan([torch.zeros(1, 3, 6, 6)], ())
    freed = [slot for step in plan.steps for slot in step.frees]
    made = {slot for step in plan.steps for slot in step.outputs} | set(plan.inputs)
    assert sorted(freed) == sorted(made - set(plan.outputs) - {0})


def test_nodes_may_come_in_any_order(conv_bn, normal):
    x = torch.from_numpy(normal(2, 3, 6, 6))
    wanted = GraphModule(conv_bn).eval()(x)[0]
    conv_bn.graph.nodes.reverse()
    torch.testing.assert_close(GraphModule(conv_bn).eval()(x)[0], wanted)


class TestMergedConstants:
    @pytest.fixture
    def merged(self, build, normal):
        """Two convolutions that share a zero bias: one directly, one through Identity."""
        nodes = [
            helper.make_node("Identity", ["zeros"], ["second.bias"], name="alias"),
            helper.make_node("Conv", ["x", "w1", "zeros"], ["a"], name="first"),
            helper.make_node("Relu", ["a"], ["r"], name="relu"),
            helper.make_node("Conv", ["r", "w2", "second.bias"], ["b"], name="second"),
            helper.make_node("Conv", ["b", "w3", "zeros"], ["y"], name="third"),
        ]
        constants = {name: normal(3, 3, 1, 1) for name in ("w1", "w2", "w3")}
        constants["zeros"] = np.zeros(3, np.float32)
        return build(nodes, {"x": normal(2, 3, 4, 4)}, constants, ["y"])

    def test_are_parameters_of_their_own(self, merged):
        names = set(GraphModule(merged).parameter_names().values())
        assert names == {"w1", "w2", "w3", "zeros", "zeros/first", "zeros/third"}

    def test_stay_merged_where_they_stay_equal(self, merged):
        exported = export_model(GraphModule(merged), merged)
        assert proto_from_model(exported) == proto_from_model(merged)

    def test_part_where_they_come_to_differ(self, merged, ort, normal):
        module = GraphModule(merged).eval()
        module.load_weights({"zeros/third": np.ones(3, np.float32)})
        exported = export_model(module, merged)
        x = normal(2, 3, 4, 4)
        with torch.no_grad():
            found = module(torch.from_numpy(x))[0].numpy()
        np.testing.assert_allclose(ort(exported, {"x": x})[0], found, rtol=1e-4, atol=1e-5)
        new = set(exported.constants()) - set(merged.constants())
        assert new == {"zeros/third"}

    def test_a_shared_layer_stays_shared(self, build, normal):
        nodes = [
            helper.make_node("Conv", ["x", "w", "b"], ["a"], name="one"),
            helper.make_node("Conv", ["a", "w", "b"], ["y"], name="two"),
        ]
        constants = {"w": normal(3, 3, 1, 1), "b": normal(3)}
        model = build(nodes, {"x": normal(1, 3, 2, 2)}, constants, ["y"])
        assert untie_constants(model) == {}

    def test_untying_is_the_same_on_a_clone(self, merged):
        first, second = GraphModule(merged), GraphModule(merged)
        assert list(first.weights()) == list(second.weights())


class TestRoles:
    def roles(self, build, nodes, feeds, constants):
        return find_weights(build(nodes, feeds, constants, ["y"]))

    def test_scalars_bounds_and_exponents_are_not_weights(self, build, normal):
        nodes = [
            helper.make_node("Mul", ["x", "half"], ["a"]),
            helper.make_node("Pow", ["a", "two"], ["b"]),
            helper.make_node("Clip", ["b", "low", "high"], ["c"]),
            helper.make_node("Resize", ["c", "", "scales"], ["y"]),
        ]
        constants = {n: np.array(0.5, np.float32) for n in ("half", "two", "low", "high")}
        constants["scales"] = np.array([1, 1, 2, 2], np.float32)
        assert self.roles(build, nodes, {"x": normal(1, 2, 3, 3)}, constants) == {}

    def test_scales_shifts_tokens_and_embeddings_are_weights(self, build, normal):
        nodes = [
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Mul", ["a", "gain"], ["b"]),
            helper.make_node("Add", ["b", "position"], ["c"]),
            helper.make_node("Concat", ["c", "token"], ["y"], axis=1),
        ]
        constants = {"gain": normal(4), "position": normal(3, 4), "token": normal(1, 1, 4)}
        found = self.roles(build, nodes, {"x": normal(1, 3, 4)}, constants)
        assert found == dict.fromkeys(constants, Role.WEIGHT)

    def test_masks_padding_and_the_normalisation_of_the_input_are_not(self, build, normal):
        nodes = [
            helper.make_node("Sub", ["x", "mean"], ["a"]),
            helper.make_node("Add", ["a", "mask"], ["b"]),
            helper.make_node("Concat", ["b", "zeros"], ["y"], axis=1),
        ]
        mask = np.zeros((3, 4), np.float32)
        mask[0, 1:] = -1e4
        constants = {"mean": normal(4), "mask": mask, "zeros": np.zeros((1, 2, 4), np.float32)}
        assert self.roles(build, nodes, {"x": normal(1, 3, 4)}, constants) == {}

    def test_a_weight_is_followed_through_its_standardisation(self, build, normal):
        nodes = [
            helper.make_node("ReduceMean", ["w"], ["mean"], axes=[1, 2, 3]),
            helper.make_node("Sub", ["w", "mean"], ["centred"]),
            helper.make_node("Mul", ["centred", "gain"], ["scaled"]),
            helper.make_node("Conv", ["x", "scaled"], ["y"]),
        ]
        constants = {"w": normal(4, 3, 2, 2), "gain": normal(4, 1, 1, 1)}
        model = build(nodes, {"x": normal(1, 3, 4, 4)}, constants, ["y"], opset=13)
        assert set(find_weights(model)) == {"w", "gain"}

    def test_statistics_are_found_through_identity(self, build, normal):
        nodes = [
            helper.make_node("Identity", ["m"], ["mean"]),
            helper.make_node("BatchNormalization", ["x", "s", "b", "mean", "v"], ["y"]),
        ]
        constants = {n: np.abs(normal(3)) for n in ("s", "b", "m", "v")}
        found = self.roles(build, nodes, {"x": normal(2, 3, 4)}, constants)
        assert {n for n, r in found.items() if r is Role.STATISTIC} == {"m", "v"}
        assert {n for n, r in found.items() if r is Role.WEIGHT} == {"s", "b"}


ZOO = ["shufflenet_v2_x1_0.dynamo", "convnextv2_atto.legacy", "efficientvit_m0.legacy"]
SHARED = Path(os.environ.get("ACGRAPH_SHARED", "../shared")).resolve()


@pytest.mark.skipif(not (SHARED / "zoo").is_dir(), reason="the zoo is not on this machine")
@pytest.mark.parametrize("name", ZOO)
def test_zoo(name, monkeypatch, ort, rng):
    monkeypatch.syspath_prepend(str(SHARED / "zoo"))
    import zoo

    from acgraph.ir import model_from_proto

    model = model_from_proto(zoo.load(name), source=name)
    module = GraphModule(model).eval()
    (source,) = model.graph.inputs
    x = rng.standard_normal(source.shape).astype(np.float32)
    (wanted,) = ort(model, {source.name: x})
    (found,) = module(torch.from_numpy(x))
    assert np.abs(found.detach().numpy() - wanted).max() <= 1e-4 * np.abs(wanted).max()
    found.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
    exported = proto_from_model(export_model(module, model))
    assert exported == proto_from_model(clone_model(model))


class TestConstantNodes:
    @pytest.fixture
    def model(self, build, normal):
        """Weights that come from Constant nodes, one of them merged."""
        weight = numpy_helper.from_array(normal(3, 3, 1, 1), "v")
        bias = numpy_helper.from_array(np.zeros(3, np.float32), "v")
        nodes = [
            helper.make_node("Constant", [], ["w"], name="cw", value=weight),
            helper.make_node("Constant", [], ["b"], name="cb", value=bias),
            helper.make_node("Constant", [], ["k"], name="ck", value_float=2.0),
            helper.make_node("Conv", ["x", "w", "b"], ["a"], name="one"),
            helper.make_node("Mul", ["a", "k"], ["m"], name="mul"),
            helper.make_node("Conv", ["m", "w2", "b"], ["y"], name="two"),
        ]
        return build(nodes, {"x": normal(2, 3, 2, 2)}, {"w2": normal(3, 3, 1, 1)}, ["y"])

    def test_hold_weights(self, model, ort, normal):
        module = GraphModule(model).eval()
        assert set(module.weights()) == {"w", "b", "w2", "b/two"}
        x = normal(2, 3, 2, 2)
        changed(module)
        module.load_weights({"b/two": np.full(3, 7, np.float32)})
        exported = export_model(module, model)
        with torch.no_grad():
            found = module(torch.from_numpy(x))[0].numpy()
        np.testing.assert_allclose(ort(exported, {"x": x})[0], found, rtol=1e-4, atol=1e-4)
        assert [n.name for n in exported.graph.nodes] == [n.name for n in model.graph.nodes]

    def test_are_left_alone_without_training(self, model):
        exported = export_model(GraphModule(model), model)
        assert proto_from_model(exported) == proto_from_model(model)


def test_dropout_of_opset_11_has_its_ratio_as_attribute(build, normal):
    nodes = [helper.make_node("Dropout", ["x"], ["y"], name="drop", ratio=0.25)]
    model = build(nodes, {"x": normal(100, 100)}, {}, ["y"], opset=11)
    module = GraphModule(model).train()
    torch.manual_seed(0)
    (out,) = module(torch.ones(100, 100))
    assert 0.22 < float((out == 0).float().mean()) < 0.28
    assert float(out.max()) == pytest.approx(1 / 0.75)
    torch.testing.assert_close(module.eval()(torch.ones(100, 100))[0], torch.ones(100, 100))


def test_a_visit_sees_what_a_watch_keeps(conv_bn, normal):
    module = GraphModule(conv_bn).eval()
    x = torch.from_numpy(normal(2, 3, 6, 6))
    names = [module.input_names[0], "c", module.output_names[0]]
    seen: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        _, watched = module.run_and_watch(names, x)
        visit(module, names, lambda name, value: seen.update({name: value.clone()}), x)
    assert sorted(seen) == sorted(names)
    assert all(torch.equal(seen[name], watched[name]) for name in names)
    with pytest.raises(BackendError, match="no such tensor"):
        visit(module, ["nope"], lambda name, value: None, x)


def test_the_peak_is_what_lives_at_once(conv_bn, normal):
    x = torch.from_numpy(normal(2, 3, 6, 6))
    module = GraphModule(conv_bn)
    sizes = module.tensor_sizes(x)
    each = [4 * int(np.prod(sizes[name])) for name in (module.input_names[0], "c")]
    most = peak_bytes(module, x)
    assert sum(each) <= most <= 3 * sum(each)
    assert peak_bytes(module, torch.cat([x, x])) == 2 * most
    assert module.training
