"""Training that restores the earlier weights if it diverges."""

from collections.abc import Callable
from typing import Any

from acgraph.backends.interface import Trainer
from acgraph.backends.training import EpochStats, FitResult
from acgraph.driver.training.curve import Curve
from acgraph.errors import DivergedError


def fit_or_keep(
    trainer: Trainer,
    warn: Callable[[str], None],
    description: str,
    *,
    curve: Curve,
    on_epoch: Callable[[EpochStats], None] | None = None,
    **options: Any,
) -> FitResult:
    """Train, or restore the earlier weights if training diverges even at reduced learning rates.

    Args:
        trainer: Holds the network.
        warn: Callback for a warning if training diverged.
        description: Name of this training on the terminal and in the curve.
        curve: Collects the passes over the training data.
        on_epoch: Callback for each pass.
        options: Arguments of :meth:`Trainer.fit`.

    Returns:
        The result of training; it has no epochs if the earlier weights were restored.
    """
    fit = curve.begin(description)

    def add(stats: EpochStats) -> None:
        fit.add(stats)
        if on_epoch is not None:
            on_epoch(stats)

    try:
        fitted = trainer.fit(description=description, on_epoch=add, **options)
    except DivergedError as error:
        warn(
            f"{description}: {error.diagnostic.message}: the previous weights are kept; lower "
            "train.learning_rate"
        )
        return FitResult(epochs=0.0, seconds=0.0, loss=0.0, steps=0, images_per_second=0.0)
    if fitted.trouble:
        warn(f"{description}: {fitted.trouble}")
    return fitted
