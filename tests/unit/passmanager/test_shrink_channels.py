"""``shrink-channels`` against the masked model, in ONNX Runtime, and what it must not remove."""

from typing import Any

import numpy as np
import pytest

from acgraph.analysis.dependency import analyse
from acgraph.backends.ort.equivalence import check_equivalence
from acgraph.cli.main import run as acgraph_command
from acgraph.errors import PassError
from acgraph.ir import Model, clone_model, model_from_proto, read_model, write_model
from acgraph.ir.text import text_from_model
from acgraph.models.mobilenet import mobilenet_v2
from acgraph.models.resnet import resnet_cifar
from acgraph.passes.shrink_channels import ShrinkChannels
from acgraph.passes.untie_constants import untie_constants
from acgraph.passmanager import PassManager
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import masked_model


def masked_half(model: Model) -> Model:
    dense = clone_model(model)
    untie_constants(dense)
    dependency = analyse(dense)
    return masked_model(dependency, magnitude_plan(dependency, dense.constants(), 0.5))


def small_mobilenet() -> Model:
    return mobilenet_v2(width=0.25)


def size(model: Model) -> int:
    return sum(value.size for value in model.constants().values())


def run(model: Model, **options: Any) -> dict[str, int]:
    (done,) = PassManager([ShrinkChannels(**options)], check_claims=True).run(model)
    return dict(done.result.statistics)


def test_the_command_cuts_what_the_masked_model_zeroes(tmp_path):
    model = resnet_cifar(8)
    source, target = tmp_path / "m.onnx", tmp_path / "out.onnx"
    write_model(model, source)
    pipeline = "fold-constants,shrink-channels{sparsity=0.5}"
    assert acgraph_command(["opt", str(source), "-p", pipeline, "-o", str(target)]) == 0
    small = read_model(target)
    assert size(small) < 0.3 * size(model)
    assert check_equivalence(small, masked_half(model)).passed
    assert not check_equivalence(small, model).passed


@pytest.mark.parametrize("build", [lambda: resnet_cifar(8), small_mobilenet])
def test_a_masked_model_shrinks_to_what_computes_the_same(build):
    masked = masked_half(build())
    small = clone_model(masked)
    assert run(small)["dead sets removed"] > 0
    assert size(small) < 0.35 * size(masked)
    equivalence = check_equivalence(small, masked)
    assert equivalence.passed
    assert not equivalence.vacuous
    once = text_from_model(small)
    assert run(small) == {"dead sets removed": 0, "sets cut by magnitude": 0}
    assert text_from_model(small) == once


def chain(make_net: Any, activation: str) -> tuple[Any, str]:
    net = make_net()
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    return net, net.conv(net.op(activation, x), 8, 2)


def zero_filters(proto: Any, *names: str) -> Model:
    model = model_from_proto(proto)
    constants = model.constants()
    for name in names:
        constants[name][:3] = 0
    return model


@pytest.mark.parametrize(
    ("activation", "gone"),
    [("Relu", 3), ("Tanh", 3), ("Sigmoid", 0), ("Exp", 0), ("Cos", 0), ("HardSwish", 3)],
)
def test_zero_filters_are_dead_where_zero_is_what_is_read(make_net, activation, gone):
    net, y = chain(make_net, activation)
    model = zero_filters(net.proto(y), "c0", "c1")
    before = clone_model(model)
    assert run(model)["dead sets removed"] == gone
    assert check_equivalence(model, before).passed


def test_a_swish_of_zero_filters_is_dead(make_net):
    net = make_net()
    x = net.conv(net.input(1, 3, 8, 8), 3, 8)
    gated = net.op("Mul", x, net.op("Sigmoid", x))
    model = zero_filters(net.proto(net.conv(gated, 8, 2)), "c0", "c1")
    before = clone_model(model)
    assert run(model)["dead sets removed"] == 3
    assert check_equivalence(model, before).passed


def test_a_zero_filter_with_a_bias_is_alive(make_net):
    net, y = chain(make_net, "Relu")
    assert run(zero_filters(net.proto(y), "c0"))["dead sets removed"] == 0


@pytest.mark.parametrize(("summed", "gone"), [(False, 3), (True, 0)])
def test_zero_columns_are_dead_where_nothing_else_reads(make_net, summed, gone):
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8))
    y = net.conv(x, 8, 2)
    if summed:
        y = net.op("Add", y, net.op("ReduceSum", x, net.ints(1), keepdims=1))
    model = model_from_proto(net.proto(y))
    model.constants()["c2"][:, :3] = 0
    before = clone_model(model)
    assert run(model)["dead sets removed"] == gone
    assert check_equivalence(model, before).passed


def test_a_product_of_a_stream_with_itself_reads_it(make_net):
    net = make_net()
    x = net.op("Gemm", net.input(4, 6), net.w(8, 6), net.w(8), transB=1)
    gram = net.op("MatMul", x, net.op("Transpose", x, perm=[1, 0]))
    y = net.op("MatMul", gram, net.op("MatMul", x, net.const(np.zeros((8, 3), "f4"))))
    both = net.op("Add", y, net.op("ReduceSum", gram, net.ints(1), keepdims=1))
    model = model_from_proto(net.proto(both))
    before = clone_model(model)
    assert run(model)["dead sets removed"] == 0
    assert check_equivalence(model, before).passed


def test_what_a_removed_set_alone_fed_goes_as_well(make_net):
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 6))
    x = net.op("Relu", net.conv(x, 6, 8))
    model = model_from_proto(net.proto(net.conv(x, 8, 2)))
    constants = model.constants()
    constants["c4"][:, :4] = 0  # nobody reads channels 0 to 3 of the middle layer
    constants["c2"][4:, :2] = 0  # only they read channels 0 and 1 of the first one
    before = clone_model(model)
    assert run(model)["dead sets removed"] == 6
    assert check_equivalence(model, before).passed


def test_min_keep_holds_for_dead_and_for_cut_sets(make_net):
    net, y = chain(make_net, "Relu")
    model = model_from_proto(net.proto(y))
    for value in ("c0", "c1"):
        model.constants()[value][:] = 0
    run(model, min_keep=5)
    assert model.constants()["c0"].shape[0] == 5
    run(model, sparsity=0.9, min_keep=4)
    assert model.constants()["c0"].shape[0] == 4


def test_only_inexact_cuts_pass_a_normalisation_over_the_axis(make_net):
    net = make_net()
    x = net.gemm(net.input(2, 6), 6, 8)
    x = net.op("LayerNormalization", x, net.positive(8), net.w(8), axis=-1)
    proto = net.proto(net.gemm(x, 8, 3))
    assert run(model_from_proto(proto), sparsity=0.5)["sets cut by magnitude"] == 0
    found = run(model_from_proto(proto), sparsity=0.5, allow_inexact=True)
    assert found["sets cut by magnitude"] == 4


@pytest.mark.parametrize("options", [{"sparsity": 1.0}, {"sparsity": -0.1}, {"min_keep": 0}])
def test_options_that_leave_nothing_are_refused(options):
    model = resnet_cifar(8)
    before = text_from_model(model)
    with pytest.raises(PassError, match="shrink-channels"):
        run(model, **options)
    assert text_from_model(model) == before
