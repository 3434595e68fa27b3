"""Fine-tuning: the last training, on the final structure."""

import time

from acgraph.analysis.dependency import analyse
from acgraph.backends.torch.checkpoint import load_checkpoint, save_checkpoint
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.driver.checkpoints import FINE_TUNE
from acgraph.driver.folder import CHECKPOINTS
from acgraph.driver.round import training_masks
from acgraph.driver.run import Run
from acgraph.driver.space import Space
from acgraph.ir import Model
from acgraph.pruning.plan import Plan

#: Fine-tuning gets at least so many seconds, even where the rounds took all the time.
LEAST_SECONDS = 5.0


def fine_tune(run: Run) -> Model:
    """Fine-tune with distillation; a checkpoint after every pass.

    A network of which nothing may be cut stays as it is.
    """
    config = run.config
    space = Space(dependency=analyse(run.model), weights=run.model.constants())
    if not space.knobs:
        return run.model
    trainer = TorchTrainer(
        run.model, run.data.train, teacher=run.original, config=config.train, progress=run.progress
    )
    checkpoint = config.output / CHECKPOINTS / FINE_TUNE
    if config.resume is not None and checkpoint.is_file():
        trainer.load_state_dict(load_checkpoint(checkpoint))
    left = None
    if run.stages.finish_by_s is not None:
        left = max(run.stages.finish_by_s - (time.perf_counter() - run.start), LEAST_SECONDS)
    trainer.fit(
        epochs=run.stages.finish,
        time_budget_s=left,
        masks=training_masks(space, Plan(), trainer.weights()),
        on_epoch=lambda _: save_checkpoint(checkpoint, trainer.state_dict()),
        description="fine-tune",
    )
    return trainer.model()
