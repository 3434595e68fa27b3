"""Fine-tuning: the last training, on the final structure."""

from dataclasses import dataclass

from acgraph.backends.training import EpochStats
from acgraph.driver.checkpoint.checkpoints import next_fine_tune, record_fine_tune
from acgraph.driver.space.space import open_space
from acgraph.driver.state.run import Run
from acgraph.driver.training.fit import fit_or_keep
from acgraph.driver.training.masks import training_masks
from acgraph.ir import Model
from acgraph.pruning.plan import Plan

#: Fine-tuning gets at least so many seconds, even where the rounds took all the time.
LEAST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Finished:
    """The network at the end.

    Attributes:
        model: The shrunk graph with its weights.
        accuracy: On the selection split.
        epochs: Passes over the training data in fine-tuning.
    """

    model: Model
    accuracy: float
    epochs: float


def fine_tune(run: Run) -> Finished:
    """Fine-tune with distillation; a checkpoint after every pass, and every few minutes in it.

    A network of which nothing may be cut stays as it is; weights that training made worse on the
    selection split are dropped for those before it.
    """
    config = run.config
    space = open_space(run.model, config)
    if not space.knobs:
        judge = run.backend.trainer(run.model, None, teacher=run.original, config=config.train)
        return Finished(run.model, judge.evaluate(run.data.select), 0.0)
    trainer = run.backend.trainer(
        run.model, run.data.train, teacher=run.original, config=config.train, progress=run.progress
    )
    trained_s = 0.0
    weights, before = trainer.weights(), trainer.evaluate(run.data.select)
    if run.fine_tune is not None:
        state = run.backend.load_state(run.fine_tune)
        trainer.load_state_dict(state)
        trained_s = state["fit"]["seconds"]

    def keep(_: EpochStats) -> None:
        file = next_fine_tune(config, run.done)
        run.backend.save_state(file, trainer.state_dict())
        record_fine_tune(config, run.done, file, run.elapsed_s)

    run.say(f"fine-tune: training in {trainer.describe()}")
    fitted = fit_or_keep(
        trainer,
        run.warn,
        "fine-tune",
        epochs=run.stages.finish_after(sum(point.epochs for point in run.frontier)),
        time_budget_s=_time_budget(run, trained_s),
        masks=training_masks(space, Plan(), trainer.weights()),
        on_epoch=keep,
    )
    after = kept = trainer.evaluate(run.data.select)
    if after < before:
        trainer.load_weights(weights)
        kept = before
        run.warn(
            f"fine-tuning made the network worse ({run.data.measure} {100 * before:.2f} % before, "
            f"{100 * after:.2f} % after), so the weights before it are kept: lower "
            "train.learning_rate or train longer"
        )
    return Finished(trainer.model(), kept, fitted.epochs)


def _time_budget(run: Run, trained_s: float) -> float | None:
    """Seconds of training in all, those before an interruption included; None for no limit."""
    if run.stages.finish_by_s is None:
        return None
    return max(trained_s + run.stages.finish_by_s - run.elapsed_s, LEAST_SECONDS)
