"""One layer of tiny weights must neither hold the others back nor diverge."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.admm import layer_scales, run_admm
from acgraph.config_merge import make_config
from acgraph.driver.training.admm import effective_admm, max_rho
from acgraph.pruning.projection import ColumnCut, Constraint

Array = npt.NDArray[Any]
Weights = Mapping[str, Array]
RATE = 0.1
CURVATURE = 0.01
#: Optimizer steps of one update, by momentum as in training.
STEPS, MOMENTUM = 40, 0.9
UPDATES = 10


class Descent:
    """The W step of ``CURVATURE/2 * ||W - centre||^2`` by gradient descent, as in training."""

    def __init__(self, centre: Weights) -> None:
        self.centre = centre
        self.w = {name: value.copy() for name, value in centre.items()}

    def __call__(self, targets: Weights, rho: Mapping[str, float]) -> Weights:
        for name, w in self.w.items():
            speed = np.zeros_like(w)
            for _ in range(STEPS):
                gradient = CURVATURE * (w - self.centre[name]) + rho[name] * (w - targets[name])
                speed = MOMENTUM * speed + gradient
                w = w - RATE * speed
            self.w[name] = w
        return self.w


def centres(tiny: float) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "big": rng.standard_normal((16, 12)),
        "other": rng.standard_normal((8, 12)),
        "tiny": tiny * rng.standard_normal((4, 12)),
    }


def primal(tiny: float) -> Mapping[str, float]:
    config = make_config({"model": "m.onnx", "target_rate": "2x"}, settings=("train.batch_size=1",))
    schedule = effective_admm(config, float(STEPS * UPDATES), RATE, 1)
    assert schedule.updates == UPDATES
    centre = centres(tiny)
    most = max_rho(RATE) / schedule.rho_at(schedule.updates - 1)
    scales = layer_scales(centre, most)
    cut = Constraint(columns=tuple(ColumnCut(tensor=name, keep=6) for name in centre))
    result = run_admm(
        centre,
        lambda weights: cut.project(weights, scales).weights,
        Descent(centre),
        schedule,
        scales=scales,
    )
    return result.residuals[-1].primal_by_weight


def test_a_tiny_layer_does_not_throttle_the_others() -> None:
    residuals = primal(tiny=1e-3)
    assert residuals["big"] < 0.01
    assert residuals["other"] < 0.01


def test_a_tiny_layer_does_not_diverge() -> None:
    assert primal(tiny=1e-3)["tiny"] < 0.01


def test_scales_are_cut_each_on_its_own() -> None:
    centre = centres(tiny=1e-3)
    free, cut = layer_scales(centre), layer_scales(centre, most=5.0)
    assert free["tiny"] > 1e5
    assert cut == free | {"tiny": 5.0}
