"""Which gradients are bounded by the size of their weights, and what that does for training."""

import numpy as np
import pytest
import torch
from onnx import helper

from acgraph.backends.torch.clipping import SHARE, clip_to_weights, free_parameters
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.trainer import TorchTrainer


def test_what_batch_normalization_follows_is_free_to_move(make):
    module = GraphModule(make.conv())
    names = module.parameter_names()
    free = {id(p) for p in free_parameters(module)}
    bounded = {names[key] for key, p in module.named_parameters() if id(p) in free}
    assert bounded == {"conv2.w", "fc.w", "fc.b"}


def test_running_statistics_leave_no_weight_free_to_move(make):
    module = GraphModule(make.conv())
    assert len(free_parameters(module, is_normalised=False)) == len(list(module.parameters()))


def test_a_gradient_is_clipped_to_a_share_of_its_weights():
    weights = [torch.nn.Parameter(torch.full((4, 4), value)) for value in (1.0, 100.0)]
    for weight in weights:
        weight.grad = torch.full((4, 4), 2.0)
    bias = torch.nn.Parameter(torch.zeros(9))
    bias.grad = torch.ones(9)
    clip_to_weights([*weights, bias, torch.nn.Parameter(torch.ones(2))])
    assert float(weights[0].grad.norm()) == pytest.approx(SHARE * 4.0)
    assert float(weights[1].grad.norm()) == pytest.approx(8.0)  # small beside its weights
    assert float(bias.grad.norm()) == pytest.approx(SHARE * 0.1 * 3)


def _deep(make, depth=12):
    """Layers of large weights that nothing normalises, as folded or random networks have them."""
    rng = np.random.default_rng(0)
    weights, nodes, last = {}, [], "x"
    for number in range(depth):
        weights[f"w{number}"] = rng.standard_normal((16, 16)) * 0.5
        nodes.append(helper.make_node("Gemm", [last, f"w{number}"], [f"g{number}"]))
        nodes.append(helper.make_node("Relu", [f"g{number}"], [f"r{number}"]))
        last = f"r{number}"
    weights["fc"] = rng.standard_normal((16, 3)) * 0.5
    nodes.append(helper.make_node("Gemm", [last, "fc"], ["y"]))
    return make.build(nodes, weights, ["n", 16], [("y", ["n", 3])])


def test_clipped_steps_train_a_network_that_whole_ones_destroy(make):
    model, data = _deep(make), make.blobs(128, features=16)
    losses = {}
    for clip in (0.0, "auto"):
        config = make.plain(
            grad_clip=clip, momentum=0.9, learning_rate=0.05, schedule="onecycle", weight_decay=5e-4
        )
        trainer = TorchTrainer(model, data, config=config)
        seen = []
        result = trainer.fit(epochs=8, on_epoch=lambda stats, seen=seen: seen.append(stats.loss))
        losses[clip] = (seen, result.trouble)
    seen, trouble = losses["auto"]
    assert not trouble
    assert seen[-1] < 0.5 * seen[0]
    assert losses[0.0][1] or losses[0.0][0][-1] > 2 * seen[-1]
