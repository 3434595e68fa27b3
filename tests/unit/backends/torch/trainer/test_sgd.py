"""Descent is that of torch's own optimizer, bit for bit, without what that imports."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from acgraph.backends.torch.sgd import SGD

Make = Callable[[list[dict[str, object]], float], SGD | torch.optim.Optimizer]


def _mine(groups: list[dict[str, object]], momentum: float) -> SGD:
    return SGD(groups, lr=0.1, momentum=momentum)


def _torchs(groups: list[dict[str, object]], momentum: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.1, momentum=momentum, nesterov=momentum > 0, foreach=True)


def _parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(n, 3, generator=generator)) for n in (4, 1, 2)]


def _train(
    optimizer: SGD | torch.optim.Optimizer, found: list[nn.Parameter], steps: range
) -> list[torch.Tensor]:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        optimizer.zero_grad(set_to_none=True)
        for number, parameter in enumerate(found):
            gradient = torch.randn(parameter.shape, generator=generator)
            if number < 2 or step >= 2:  # the last has none at first
                parameter.grad = gradient
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + step)
        optimizer.step()
    return [parameter.detach().clone() for parameter in found]


def _groups(found: list[nn.Parameter]) -> list[dict[str, object]]:
    return [
        {"params": found[:1], "weight_decay": 0.01},
        {"params": found[1:], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_steps_are_those_of_torch(momentum: float) -> None:
    found = []
    for make in (_mine, _torchs):
        parameters = _parameters()
        found.append(_train(make(_groups(parameters), momentum), parameters, range(6)))
    for mine, theirs in zip(*found, strict=True):
        assert torch.equal(mine, theirs)
    assert not torch.equal(found[0][2], _parameters()[2])


@pytest.mark.parametrize("first", [_mine, _torchs])
def test_a_state_goes_on_where_it_was_taken(first: Make) -> None:
    parameters = _parameters()
    whole = _train(_mine(_groups(parameters), 0.9), parameters, range(6))
    parameters = _parameters()
    begun = first(_groups(parameters), 0.9)
    _train(begun, parameters, range(3))
    ended = _mine(_groups(parameters), 0.9)
    ended.load_state_dict(begun.state_dict())
    for mine, expected in zip(_train(ended, parameters, range(3, 6)), whole, strict=True):
        assert torch.equal(mine, expected)


def test_a_state_of_other_groups_is_refused() -> None:
    parameters = _parameters()
    state = _mine(_groups(parameters), 0.9).state_dict()
    with pytest.raises(ValueError, match="other parameter groups"):
        _mine(_groups(parameters[:2]), 0.9).load_state_dict(state)


def test_training_imports_no_compiler() -> None:
    program = (
        "import sys, numpy as np\n"
        "from acgraph.backends.torch.trainer import TorchTrainer\n"
        "from acgraph.data import ArrayDataset\n"
        "from acgraph.models.lenet5 import lenet5\n"
        "x = np.zeros((2, 1, 28, 28), np.float32)\n"
        "TorchTrainer(lenet5(), ArrayDataset(x, np.zeros(2, np.int64))).fit(epochs=1)\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
