import pytest
import torch

from acgraph.backends.torch.schedule import WARMUP, learning_rate_at


def pytorchs(make_scheduler, steps, peak=0.1):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("steps", [60, 100, 391])
def test_onecycle_is_pytorchs(steps):
    theirs = pytorchs(
        lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, 0.1, total_steps=steps + 1, pct_start=WARMUP
        ),
        steps + 1,
    )[: steps + 1]
    ours = [learning_rate_at("onecycle", 0.1, step, steps + 1) for step in range(steps + 1)]
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_cosine_is_pytorchs():
    theirs = pytorchs(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 40), 40)
    ours = [learning_rate_at("cosine", 0.1, step, 40) for step in range(40)]
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_constant():
    assert {learning_rate_at("constant", 0.1, step, 7) for step in range(7)} == {0.1}


@pytest.mark.parametrize("steps", range(1, 30))
def test_short_onecycles_stay_in_bounds_and_end_low(steps):
    rates = [learning_rate_at("onecycle", 0.1, step, steps) for step in range(steps)]
    assert max(rates) <= 0.1
    assert min(rates) > 0
    if steps > 2:
        assert rates[-1] == pytest.approx(0.1 / 25 / 1e4)
        assert max(rates) > 0.06


@pytest.mark.parametrize("steps", [4, 8, 20])
def test_short_onecycles_warm_up_for_several_steps(steps):
    rates = [learning_rate_at("onecycle", 0.1, step, steps) for step in range(steps)]
    warm = rates.index(max(rates))
    assert warm == min(5, steps // 2)
    assert rates[0] == pytest.approx(0.1 / 25)
    assert rates[: warm + 1] == sorted(rates[: warm + 1])
