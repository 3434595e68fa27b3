"""The batches and steps of a training without labels."""

from types import SimpleNamespace

import pytest

from acgraph.backends.training import TrainConfig
from acgraph.driver.schedule.plan import Pace
from acgraph.driver.stages.fine_tune import healing_batch
from acgraph.driver.state.context import Context


def _setting(examples, *, epochs=1.0, budget_s=None, pass_s=1.0, imitates=True):
    config = SimpleNamespace(train=TrainConfig(), time_budget=budget_s)
    data = SimpleNamespace(train=range(examples))
    context = SimpleNamespace(config=config, data=data, imitates=imitates)
    schedule = SimpleNamespace(total_epochs=epochs)
    return context, SimpleNamespace(schedule=schedule, pace=Pace(pass_s=pass_s, evaluation_s=1.0))


@pytest.mark.parametrize(
    ("setting", "size"),
    [
        (_setting(64, epochs=8), 16),
        (_setting(50_000, epochs=8), 128),
        (_setting(2_000, epochs=8), 32),
        (_setting(2_000, epochs=8, imitates=False), 128),
        # Half of 100 s: ten passes of 5 s over 2,500 examples.
        (_setting(2_500, budget_s=100, pass_s=5), 50),
    ],
)
def test_a_short_training_without_labels_has_small_batches(setting, size):
    assert healing_batch(*setting) == size


def test_smaller_batches_take_smaller_steps_without_labels():
    context = _setting(64)[0]
    rates = [Context.healing(context, 0.5, size)["learning_rate"] for size in (None, 128, 32, 16)]
    assert rates[0] == rates[1] == pytest.approx(0.5 * 0.2 * TrainConfig().learning_rate)
    assert rates[2] == pytest.approx(rates[1] / 2)
    assert rates[3] < rates[2]
    context.imitates = False
    assert Context.healing(context, 0.5, 16)["learning_rate"] == pytest.approx(0.025)
