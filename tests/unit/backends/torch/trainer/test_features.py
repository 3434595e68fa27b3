"""Feature distillation, against the same thing written by hand in PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx import helper

from acgraph.analysis.dependency import analyse
from acgraph.backends.torch import features
from acgraph.backends.torch.features import attention_error, choose_features
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.cli.main import run
from acgraph.errors import UsageError
from acgraph.ir import model_from_proto, write_model
from acgraph.models.resnet import resnet18
from acgraph.models.vgg import vgg16
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import shrink
from acgraph.tasks import OutputTask


def two_stages(make, widths=(6, 8), seed=0):
    """Conv, Relu, MaxPool, Conv, Relu, mean over the image, Gemm."""
    rng = np.random.default_rng(seed)
    weights = {
        "conv1.w": rng.standard_normal((widths[0], 3, 3, 3)) * 0.3,
        "conv2.w": rng.standard_normal((widths[1], widths[0], 3, 3)) * 0.2,
        "fc.w": rng.standard_normal((make.classes, widths[1])) * 0.3,
        "fc.b": np.zeros(make.classes),
    }
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "conv1.w"], ["a"], **pads),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["c", "conv2.w"], ["d"], **pads),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"]),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("Gemm", ["g", "fc.w", "fc.b"], ["y"], transB=1),
    ]
    return make.build(nodes, weights, ["n", 3, 8, 8], [("y", ["n", make.classes])])


def by_hand(weights, x):
    """Return the logits and the two tensors at which the resolution changes."""
    first = F.conv2d(x, weights["conv1.w"], padding=1).relu()
    second = F.conv2d(F.max_pool2d(first, 2), weights["conv2.w"], padding=1).relu()
    return second.mean((2, 3)) @ weights["fc.w"].T + weights["fc.b"], first, second


def difference(mine, other):
    """Of two tensors ``[N, C, H, W]``: image by image, position by position."""
    total = torch.zeros(())
    for a, b in zip(mine, other, strict=True):
        maps = [(t**2).sum(0) / t.shape[0] for t in (a, b)]
        lengths = [(m**2).sum() ** 0.5 for m in maps]
        total = total + ((maps[0] / lengths[0] - maps[1] / lengths[1]) ** 2).sum()
    return total / len(mine)


def tensors(model, *, trained=False):
    floats = {k: v for k, v in model.constants().items() if v.dtype == np.float32}
    return {k: torch.tensor(v, requires_grad=trained) for k, v in floats.items()}


@pytest.mark.parametrize("labelled", [True, False])
def test_loss_and_step_are_those_written_by_hand(make, labelled):
    student, teacher = two_stages(make, (4, 5)), two_stages(make, seed=1)
    data = make.patterns(16, labelled=labelled)
    config = make.plain(feature_weight=3.0, distill_weight=0.25, distill_temperature=2.0)
    tasks = (OutputTask(output="y", kind="classification", axis=1),)
    trainer = TorchTrainer(student, data, teacher=teacher, config=config, tasks=tasks)
    loss = trainer.fit(epochs=1).loss

    batch = data.batch(np.arange(16))
    images, labels = batch.x, batch.labels
    weights, x = tensors(student, trained=True), torch.from_numpy(images)
    mine, other = by_hand(weights, x), by_hand(tensors(teacher), x)
    p, q = ((t[0] / 2).softmax(1) for t in (other, mine))
    expected = 4 * (p * (p.log() - q.log())).sum(1).mean()
    if labelled:
        cross_entropy = -mine[0].log_softmax(1)[torch.arange(16), torch.from_numpy(labels)].mean()
        expected = 0.25 * expected + 0.75 * cross_entropy
    inside = (difference(mine[1], other[1]) + difference(mine[2], other[2])) / 2
    (expected + 3 * inside).backward()
    assert 3 * inside > 0.1 * expected
    assert loss == pytest.approx((expected + 3 * inside).item(), rel=1e-5)
    for name, value in trainer.weights().items():
        after = (weights[name] - 0.1 * weights[name].grad).detach().numpy()
        np.testing.assert_allclose(value, after, atol=1e-6, err_msg=name)


def test_features_alone_teach_what_comes_before_them(make):
    """With the labels' part taken off, what the first convolution learns comes from inside."""
    student, teacher = two_stages(make, (4, 5)), two_stages(make, seed=1)
    moves = []
    for weight in (0.0, 1.0):
        config = make.plain(feature_weight=weight)
        trainer = TorchTrainer(student, make.patterns(16), teacher=teacher, config=config)
        trainer.fit(epochs=1)
        moves.append(trainer.weights())
    assert (moves[0]["conv1.w"] != moves[1]["conv1.w"]).any()
    assert (moves[0]["fc.w"] == moves[1]["fc.w"]).all()  # behind the features


def trained(make, student, *, data=None, fit=None, **options):
    trainer = TorchTrainer(
        student,
        data or make.patterns(26),
        teacher=two_stages(make, seed=1),
        config=make.plain(batch_size=13, **options),
    )
    trainer.fit(epochs=2, **(fit or {}))
    return trainer.weights()


def test_a_weight_of_zero_asks_no_teacher(make, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("asked")

    monkeypatch.setattr("acgraph.backends.torch.teacher.Teacher.__call__", refuse)
    off = trained(make, two_stages(make), feature_weight=0.0)
    for name, value in trained(make, two_stages(make)).items():
        np.testing.assert_array_equal(off[name], value)
    with pytest.raises(AssertionError, match="asked"):
        trained(make, two_stages(make), feature_weight=1.0)


def test_it_goes_together_with_other_options(make):
    base = trained(make, two_stages(make), feature_weight=1.0)
    for option in ({"mixup": 0.4}, {"precision": "bf16"}, {"feature_weight": 2.0}):
        changed = trained(make, two_stages(make), **{"feature_weight": 1.0, **option})
        assert any((changed[name] != value).any() for name, value in base.items()), option
    for option in ({"micro_batch": 5}, {"channels_last": True}):
        same = trained(make, two_stages(make), **{"feature_weight": 1.0, **option})
        for name, value in base.items():
            np.testing.assert_allclose(same[name], value, atol=2e-6, err_msg=name)


def test_a_student_comes_to_look_where_its_teacher_does(make):
    data, teacher = make.patterns(60), two_stages(make, seed=1)

    def difference_after(weight):
        trainer = TorchTrainer(
            two_stages(make, (4, 5)),
            data,
            teacher=teacher,
            config=make.plain(momentum=0.9, feature_weight=weight),
        )
        trainer.fit(epochs=10)
        x = torch.from_numpy(data.batch(np.arange(60)).x)
        mine, other = by_hand(tensors(trainer.model()), x), by_hand(tensors(teacher), x)
        return (difference(mine[1], other[1]) + difference(mine[2], other[2])).item()

    assert difference_after(3.0) < 0.7 * difference_after(0.0)


def test_the_difference_of_maps():
    a, b = torch.randn(3, 4, 5, 6), torch.randn(3, 2, 5, 6)
    assert attention_error(a, b, 1).item() == pytest.approx(difference(a, b).item(), rel=1e-5)
    rows = [t.flatten(2).transpose(1, 2) for t in (a, b)]
    assert attention_error(*rows, -1).item() == pytest.approx(difference(a, b).item(), rel=1e-5)
    assert attention_error(a, 7 * a, 1).item() == pytest.approx(0, abs=1e-6)
    left, right = torch.eye(2).view(2, 1, 1, 2)[:1], torch.eye(2).view(2, 1, 1, 2)[1:]
    assert attention_error(left, right, 1) == 2


def test_nothing_to_see_is_no_reason_to_break_off():
    dead = torch.zeros(2, 3, 4, 4, requires_grad=True)
    error = attention_error(dead, torch.ones(2, 3, 4, 4), 1)
    error.backward()
    assert error.item() == pytest.approx(1)
    assert dead.grad.isfinite().all()


def chosen(student, teacher, *shape):
    modules = GraphModule(student), GraphModule(teacher)
    return [
        (f.name, f.channel_axis)
        for f in choose_features(*modules, Inputs.single(torch.zeros(1, *shape)))
    ]


def nodes_of(model, *ops):
    return [node for node in model.graph.nodes if node.op in ops]


def test_the_last_tensor_of_each_resolution_is_compared(make):
    assert chosen(two_stages(make), two_stages(make), 3, 8, 8) == [("b", 1), ("e", 1)]
    model = vgg16(width=0.05)
    pools = [node.inputs[0].name for node in nodes_of(model, "MaxPool")]
    assert len(pools) == 5
    assert [name for name, _ in chosen(model, model, 3, 32, 32)] == pools[1:]
    model = resnet18(width=0.05)
    strided = [n for n in nodes_of(model, "Conv") if n.attrs.get("strides") == [2, 2]]
    places = dict.fromkeys(n.inputs[0].name for n in strided if n.inputs[0].inputs[0].op == "Relu")
    (mean,) = nodes_of(model, "GlobalAveragePool")
    assert [name for name, _ in chosen(model, model, 3, 32, 32)] == [*places, mean.inputs[0].name]


def test_a_pruned_student_is_compared_at_the_same_places(make):
    teacher = resnet18(width=0.1)
    graph = analyse(teacher)
    student = shrink(graph, magnitude_plan(graph, teacher.constants(), 0.5)).model
    found = chosen(student, teacher, 3, 32, 32)
    assert len(found) == 4
    assert found == chosen(teacher, teacher, 3, 32, 32)
    x = torch.randn(2, 3, 32, 32)
    names = [name for name, _ in found]
    sizes = [
        [inside.shape[1] for inside in GraphModule(m).run_and_watch(names, x)[1].values()]
        for m in (student, teacher)
    ]
    assert all(small < large for small, large in zip(*sizes, strict=True))


def transformer(make_net, batch, *, width=8, blocks=6, normalise="LayerNormalization"):
    """Image to tokens by a convolution, then blocks of t + MatMul(normalised t)."""
    net = make_net()
    x = net.conv(net.input(batch, 3, 8, 8), 3, width, 2, strides=[2, 2], pads=[0] * 4)
    t = net.op("Transpose", net.op("Reshape", x, net.ints(0, width, -1)), perm=[0, 2, 1])
    for number in range(blocks):
        if normalise == "ReduceMean":
            n = net.op("Sub", t, net.op("ReduceMean", t, axes=[-1]))
        else:
            n = net.op(normalise, t, net.positive(width))
        t = net.op("Add", t, net.op("MatMul", n, net.w(width, width)), name=f"add{number}")
    y = net.gemm(net.op("Squeeze", net.op("ReduceMean", t, axes=[1]), net.ints(1)), width, 3)
    return model_from_proto(net.proto(y))


@pytest.mark.parametrize("normalise", ["LayerNormalization", "ReduceMean"])
@pytest.mark.parametrize("batch", ["n", 1])
def test_tokens_are_compared_evenly_over_the_depth(make, make_net, normalise, batch):
    student = transformer(make_net, batch, width=6, normalise=normalise)
    teacher = transformer(make_net, batch, normalise=normalise)
    found = chosen(student, teacher, 3, 8, 8)
    # Of the six that are normalised the first holds tokens, the others what blocks made.
    assert found == [(f"add{block}:0", -1) for block in (0, 1, 3, 4)]
    losses = []
    for weight in (0.0, 1.0):
        config = make.plain(feature_weight=weight, batch_size=8)
        trainer = TorchTrainer(student, make.patterns(8), teacher=teacher, config=config)
        losses.append(trainer.fit(epochs=1).loss)
    assert losses[1] > losses[0]


def test_what_looks_like_a_batch_is_none(make, make_net):
    """Two or three channels first: axes that are no batch are found out by another batch."""
    net = make_net()
    x = net.op("Relu", net.conv(net.input("n", 3, 8, 8), 3, 2))
    moved = net.op("Transpose", x, perm=[1, 0, 2, 3])
    pooled = net.op("GlobalAveragePool", moved)
    y = net.op("Flatten", net.op("Transpose", pooled, perm=[1, 0, 2, 3]))
    model = model_from_proto(net.proto(net.gemm(y, 2, 3)))
    with pytest.raises(UsageError, match="no tensor of the same name"):
        chosen(model, model, 3, 8, 8)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        ("linear", {}, "train.feature_weight is given, but .* no tensor of the same name"),
        ("conv", {"cache_teacher": True}, "cache_teacher caches the teacher"),
        ("conv", {"loss": lambda o, y, t: o[0].sum()}, "feature_weight .* a custom loss"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(make, build, options, message):
    loss = options.pop("loss", None)
    model = getattr(make, build)()
    data = make.blobs() if build == "linear" else make.patterns()
    config = make.plain(feature_weight=1.0, **options)
    with pytest.raises(UsageError, match=message) as caught:
        TorchTrainer(model, data, teacher=model, config=config, loss=loss)
    assert "\n" not in str(caught.value)


def test_features_need_a_teacher(make):
    trainer = TorchTrainer(make.conv(), make.patterns(), config=make.plain(feature_weight=1.0))
    with pytest.raises(UsageError, match="there is none"):
        trainer.fit(epochs=1)


def test_compress_imitates_the_features_of_the_original(tmp_path, monkeypatch, capsys):
    """Every step that trains compares; once it is cut, the student has fewer channels."""
    seen = []

    def spied(mine, other, channel_axis):
        seen.append((mine.shape[1], other.shape[1]))
        return attention_error(mine, other, channel_axis)

    monkeypatch.setattr(features, "attention_error", spied)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((48, 3, 32, 32)).astype(np.float32), np.arange(48) % 10
    np.savez(tmp_path / "images.npz", x=x, y=y)
    write_model(resnet18(width=0.1), tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    words = (
        "compress model.onnx --data images.npz --target-rate 2x --epochs 2 --batch-size 16 "
        "--search uniform --rounds 1 --no-timing --threads 1 -o out "
        "--set purify=false --set columns.enabled=false --set retrain_share=0.5 "
        "--set train.feature_weight=1"
    )
    assert run(words.split()) == 0, capsys.readouterr().err
    assert (tmp_path / "out" / "model.onnx").is_file()
    assert {mine == other for mine, other in seen} == {True, False}
    assert all(mine <= other for mine, other in seen)


def test_compress_says_where_there_is_nothing_to_imitate(tmp_path, make, capsys):
    write_model(make.linear(features=8), tmp_path / "model.onnx")
    data = make.blobs(48, features=8)
    np.savez(tmp_path / "data.npz", x=data.batch(np.arange(48)).x, y=data.labels)
    words = (
        f"compress {tmp_path / 'model.onnx'} --data {tmp_path / 'data.npz'} --target-rate 2x "
        f"--epochs 1 -o {tmp_path / 'out'} --set train.feature_weight=1"
    )
    assert run(words.split()) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: train.feature_weight is given, but the network and its teacher")
