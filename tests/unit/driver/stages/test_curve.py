from acgraph.backends.training import EpochStats
from acgraph.driver.state.records import pass_records
from acgraph.driver.training.curve import Curve


def stats(epoch: float, loss: float) -> EpochStats:
    return EpochStats(
        epoch=epoch, epochs=2.0, loss=loss, learning_rate=0.1, images_per_second=9.0,
        seconds=10 * epoch,
    )  # fmt: skip


def test_fits_of_one_stage_are_one_curve() -> None:
    curve = Curve()
    first = curve.begin("round 1: ADMM")
    first.add(stats(1.0, 3.0))
    first.add(stats(1.5, 2.0))
    curve.begin("round 1: ADMM").add(stats(0.5, 1.0))
    curve.begin("fine-tune").add(stats(1.0, 0.5))
    found = [(x.stage, x.epoch, x.loss, x.seconds) for x in pass_records(curve.passes)]
    assert found == [
        ("round 1: ADMM", 1.0, 3.0, 10.0),
        ("round 1: ADMM", 1.5, 2.0, 15.0),
        ("round 1: ADMM", 2.0, 1.0, 20.0),
        ("fine-tune", 1.0, 0.5, 10.0),
    ]
