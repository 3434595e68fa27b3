"""Training that a run survives, whatever comes of it."""

from collections.abc import Callable
from typing import Any

from acgraph.backends.interface import Trainer
from acgraph.backends.training import FitResult
from acgraph.errors import DivergedError


def fit_or_keep(
    trainer: Trainer, warn: Callable[[str], None], description: str, **options: Any
) -> FitResult:
    """Train, or keep the weights before it where training diverges however small its steps.

    Args:
        trainer: Holds the network.
        warn: Who is told where training diverged.
        description: What it is called on the terminal.
        options: As :meth:`Trainer.fit` takes them.

    Returns:
        What training did: of no epoch where the weights are those before it.
    """
    try:
        fitted = trainer.fit(description=description, **options)
    except DivergedError as error:
        warn(
            f"{description}: {error.diagnostic.message}: the weights before it are kept; lower "
            "train.learning_rate"
        )
        return FitResult(epochs=0.0, seconds=0.0, loss=0.0, steps=0, images_per_second=0.0)
    if fitted.trouble:
        warn(f"{description}: {fitted.trouble}")
    return fitted
