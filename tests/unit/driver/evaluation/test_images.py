"""A search of a large network judges by few images first, within what may be spent."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from acgraph.analysis.cost import model_cost
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.config import CompressConfig
from acgraph.driver.evaluation import images as judging
from acgraph.driver.evaluation.images import (
    Images,
    affordable_evaluations,
    levels_of,
    measured_images,
    whole_images,
)
from acgraph.driver.evaluation.proxy import Proxy
from acgraph.driver.evaluation.workers import make_task, open_task
from acgraph.driver.inputs.data import open_data
from acgraph.driver.network import Network
from acgraph.driver.schedule.plan import plan_schedule
from acgraph.driver.space.space import open_space
from acgraph.driver.stages.goal import Goal
from acgraph.driver.stages.round import run_round
from acgraph.ir import Model, count_params, proto_from_model, read_model

Configure = Callable[..., CompressConfig]


def test_a_share_of_the_images_keeps_both_parts() -> None:
    whole = Images(select=1000, train=512)
    assert whole.shared(1.0) == whole
    fifth = whole.shared(0.2)
    assert fifth.select + fifth.train == pytest.approx(0.2 * 1512, abs=2)
    assert fifth.train < fifth.select
    assert whole.shared(1e-6) == Images(16, 16)
    assert Images(1000, 0).shared(0.1) == Images(100, 0)
    assert Images(10, 5).shared(0.01) == Images(10, 5)


def test_what_is_spent_is_counted_in_macs(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    images = Images(100, 100)
    macs = model_cost(model).macs
    monkeypatch.setattr(judging, "MAX_MACS", 40 * 200 * macs)
    monkeypatch.setattr(judging, "MIN_MACS", 10 * 200 * macs)
    of_training = partial(affordable_evaluations, model, images)
    assert of_training(1e9) == pytest.approx(40)
    assert of_training(450.0) == pytest.approx(3 * 3 * 450 / 200)
    assert of_training(1.0) == pytest.approx(10)


def test_a_search_spends_what_is_affordable() -> None:
    images = Images(100, 100)
    assert len(levels_of(images, 32, affordable=40)) == 1
    levels = levels_of(images, 64, affordable=40)
    assert len(levels) == 3
    assert sum(level.share * level.count for level in levels) <= 40 + 1e-9


def test_fewer_points_are_judged_where_the_fewest_images_are_too_many() -> None:
    images = Images(select=20, train=20)
    levels = levels_of(images, 100, affordable=26)
    parts = [images.shared(level.share) for level in levels]
    spent = sum(
        level.count * (part.select + part.train) for level, part in zip(levels, parts, strict=True)
    )
    assert 16 < levels[0].count < 100
    assert 20 * 40 < spent <= 26 * 40
    assert levels_of(images, 100, affordable=1)[0].count == 16
    assert levels_of(images, 100, affordable=1, fewest=100)[0].count == 100


def test_what_layers_read_is_measured_on_fewer_images_of_a_large_network(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measured_images(model, 2048) == 2048
    monkeypatch.setattr(judging, "MAX_MEASURING_MACS", 100 * model_cost(model).macs)
    assert measured_images(model, 2048) == 100
    monkeypatch.setattr(judging, "MAX_MEASURING_MACS", 1)
    assert measured_images(model, 2048) == 16


def test_a_large_network_is_searched_by_few_images_and_its_best_points_by_all(
    configure: Configure, begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure("search.method=random", "search.evaluations=12", "search.recalibrate=2")
    said: list[str] = []
    context, state = begin(config, said.append)
    model = state.network.model
    whole = whole_images(config, context.data)
    macs = model_cost(model).macs * (whole.select + whole.train)
    monkeypatch.setattr(judging, "MAX_MACS", 6 * macs)
    judged: list[tuple[int, int | None]] = []
    judge = Proxy.__call__

    def noted(self: Any, point: Any) -> float:
        judged.append((self._limit, self._images))
        return judge(self, point)

    monkeypatch.setattr(Proxy, "__call__", noted)
    stages = replace(plan_schedule(config.target_rate), admm=0.0, retrain=0.0)
    goal = Goal(number=1, budget=count_params(proto_from_model(model)) / 2)
    result = run_round(context, replace(state, schedule=stages), goal, said.append)
    assert result is not None
    assert result.evaluations == len(judged) == 12 + 4 + 2
    few, more, all_of_them = judged[0], judged[12], judged[-1]
    assert judged == [few] * 12 + [more] * 4 + [all_of_them] * 2
    assert all_of_them == (whole.select, whole.train)
    assert few[0] < more[0] <= whole.select
    assert any(f"each candidate is evaluated on {few[0]} examples" in line for line in said)


def test_a_worker_judges_by_the_same_few_images(configure: Configure) -> None:
    config = configure("criterion=magnitude", "search.recalibrate=2")
    original = read_model(config.model)
    data = open_data(config, original)
    space = open_space(Network(original), config)
    trainer = TorchTrainer(original, data.train, teacher=original, config=config.train)
    trainer.choose_mode()  # as a round does: a worker is given the mode, and no images to time it
    few = Images(select=40, train=24)
    here = Proxy(trainer, space, data.select, limit=40, batches=2, images=24)
    task = make_task(
        config, trainer, space, original, data.train, data.select, few.select, few.train
    )
    there = open_task(task)
    point = tuple(max(knob.floor, knob.size // 2) for knob in space.knobs)
    assert len(task.select) == 40
    assert there(point) == here(point)
