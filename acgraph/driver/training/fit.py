"""Training that restores the earlier weights if it diverges."""

from collections.abc import Callable
from typing import Any

from acgraph.backends.interface import Trainer
from acgraph.backends.training import FitResult
from acgraph.errors import DivergedError


def fit_or_keep(
    trainer: Trainer, warn: Callable[[str], None], description: str, **options: Any
) -> FitResult:
    """Train, or restore the earlier weights if training diverges even at reduced learning rates.

    Args:
        trainer: Holds the network.
        warn: Callback for a warning if training diverged.
        description: Name of this training on the terminal.
        options: Arguments of :meth:`Trainer.fit`.

    Returns:
        The result of training; it has no epochs if the earlier weights were restored.
    """
    try:
        fitted = trainer.fit(description=description, **options)
    except DivergedError as error:
        warn(
            f"{description}: {error.diagnostic.message}: the previous weights are kept; lower "
            "train.learning_rate"
        )
        return FitResult(epochs=0.0, seconds=0.0, loss=0.0, steps=0, images_per_second=0.0)
    if fitted.trouble:
        warn(f"{description}: {fitted.trouble}")
    return fitted
