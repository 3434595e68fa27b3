"""Fine-tuning: the last stage of training, on the final structure."""

from dataclasses import asdict, replace

from acgraph.backends.training import EpochStats
from acgraph.driver.checkpoint.checkpoints import next_fine_tune, record_fine_tune
from acgraph.driver.network import Network
from acgraph.driver.schedule.plan import TRAIN_SHARE
from acgraph.driver.space.space import open_space
from acgraph.driver.stages.target import rate_of
from acgraph.driver.state.context import Context
from acgraph.driver.state.records import RateRecord, pass_records
from acgraph.driver.state.state import State, Warnings
from acgraph.driver.training.curve import Curve, StagePass
from acgraph.driver.training.fit import fit_or_keep
from acgraph.driver.training.masks import training_masks
from acgraph.pruning.plan import Plan

#: Without labels, batches are made smaller, down to the second number, until the training has this
#: many steps.
MIN_STEPS, MIN_BATCH = 500, 16
#: Smallest number of seconds for fine-tuning, even if the rounds exceeded the time budget.
MIN_SECONDS = 5.0


def fine_tune(context: Context, state: State) -> State:
    """Fine-tune with distillation, with checkpoints after every epoch and every few minutes.

    A network of which nothing may be cut is not changed. If training lowers the accuracy on the
    selection split, the earlier weights are restored.
    """
    space = open_space(state.network, context.config)
    if not space.knobs:
        accuracy = context.evaluator(state.network, state.mode).evaluate(context.data.select)
        return _finished(context, state, state.network, accuracy, 0.0)
    size = healing_batch(context, state)
    trainer = context.trainer(state.network, state.mode, batch_size=size)
    warnings = Warnings(context, state)
    trained_s, curve, earlier = 0.0, Curve(), list[StagePass]()
    weights, before = trainer.weights(), trainer.evaluate(context.data.select)
    if state.partial_fit is not None:
        saved = context.backend.load_state(state.partial_fit)
        earlier = [("fine-tune", EpochStats(**stats)) for stats in saved.pop("curve")]
        trainer.load_state_dict(saved)
        trained_s = saved["fit"]["seconds"]

    def keep(_: EpochStats) -> None:
        file = next_fine_tune(context.requested, state.checkpoint)
        passes = [asdict(stats) for _, stats in (*earlier, *curve.passes)]
        context.backend.save_state(file, {**trainer.state_dict(), "curve": passes})
        record_fine_tune(context.requested, state.checkpoint, file, context.clock.elapsed_s)

    context.reporter.status(f"fine-tune: training in {trainer.describe()}")
    fitted = fit_or_keep(
        trainer,
        warnings.add,
        "fine-tune",
        epochs=state.schedule.finish_after(sum(point.epochs for point in state.frontier)),
        time_budget_s=time_budget_s(state, context.clock.elapsed_s, trained_s),
        **context.healing(batch_size=size),
        masks=training_masks(space, Plan(), trainer.weights()),
        on_epoch=keep,
        curve=curve,
    )
    after = kept = trainer.evaluate(context.data.select)
    if after < before:
        trainer.load_weights(weights)
        kept = before
        warnings.add(
            f"fine-tuning made the network worse ({context.data.measure} {100 * before:.2f} % "
            f"before, {100 * after:.2f} % after), so the weights before fine-tuning are kept: "
            "lower train.learning_rate or train longer"
        )
    network = state.network.trained(trainer.model())
    training = (*state.training, *pass_records((*earlier, *curve.passes)))
    done = replace(state, warnings=warnings.texts, training=training, partial_fit=None)
    return _finished(context, done, network, kept, fitted.epochs)


def _finished(
    context: Context, state: State, network: Network, accuracy: float, epochs: float
) -> State:
    """Update the state after fine-tuning; with an accuracy floor, record the rate as tried."""
    frontier = state.frontier
    if context.config.max_drop is not None:
        rate = rate_of(context, network)
        frontier = (*frontier, RateRecord(rate=rate, accuracy=accuracy, epochs=epochs))
    return replace(state, network=network, frontier=frontier)


def healing_batch(context: Context, state: State) -> int:
    """Return the batch size of the fine-tuning: smaller without labels if there are few steps.

    A few steps of a large batch do more harm than good to a network that was refitted in closed
    form. The result is the same when an interrupted run is resumed.
    """
    most, count = context.config.train.batch_size, len(context.data.train)
    if not context.imitates:
        return most
    budget_s, pace = context.config.time_budget, state.pace
    passes = state.schedule.total_epochs
    if budget_s is not None and pace is not None:
        passes = TRAIN_SHARE * budget_s / pace.pass_s
    return min(most, max(MIN_BATCH, int(passes * count / MIN_STEPS)))


def time_budget_s(state: State, elapsed_s: float, trained_s: float) -> float | None:
    """Return the total seconds of training, including those before an interruption, or None.

    Args:
        state: The state, whose schedule has the time at which fine-tuning must end.
        elapsed_s: Seconds that the run has taken so far.
        trained_s: Seconds of fine-tuning before an interruption.
    """
    if state.schedule.finish_by_s is None:
        return None
    return max(trained_s + state.schedule.finish_by_s - elapsed_s, MIN_SECONDS)
