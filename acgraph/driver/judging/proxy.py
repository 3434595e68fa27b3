"""Judge a point of the search without training: cut by magnitude, recalibrate, evaluate."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

from acgraph.data import Dataset
from acgraph.driver.space.space import Space
from acgraph.pruning.plan import Bools, zero
from acgraph.search import Point

Arrays = Mapping[str, npt.NDArray[Any]]


class Evaluator(Protocol):
    """What the proxy needs of a trainer."""

    def weights(self) -> Mapping[str, npt.NDArray[Any]]:
        """Copy all weights and running statistics."""
        ...

    def load_weights(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set the named weights."""
        ...

    def recalibrate(self, batches: int, *, fast: bool = False, images: int | None = None) -> None:
        """Estimate BatchNormalization's statistics anew; ``fast`` in the precision of training."""
        ...

    def evaluate(self, data: Dataset, limit: int | None = None, *, fast: bool = False) -> float:
        """Return the metric on data; ``fast`` in the precision of training."""
        ...


def masked_weights(space: Space, weights: Arrays, zeroed: Mapping[str, Bools]) -> dict[str, Any]:
    """Return the weights that a cut changes: zeroed, and reconstructed where the space can."""
    if space.reconstruction is not None:
        return space.reconstruction.reconstruct(weights, zeroed)
    return zero(weights, zeroed)


class Proxy:
    """Scores points: the metric of the masked network, its BatchNormalization recalibrated."""

    def __init__(
        self,
        trainer: Evaluator,
        space: Space,
        data: Dataset,
        *,
        limit: int,
        batches: int,
        images: int | None = None,
    ) -> None:
        """Prepare.

        Args:
            trainer: Holds the network; its weights are back in place after every call.
            space: What the points mean.
            data: The selection split.
            limit: Images to evaluate on.
            batches: Training batches to recalibrate on; with none a hard cut by magnitude
                scores close to chance.
            images: No more than so many of their images.
        """
        self._trainer = trainer
        self._space = space
        self._data = data
        self._limit = limit
        self._batches = batches
        self._images = images
        self._weights = dict(trainer.weights())

    def __call__(self, point: Point) -> float:
        """Score a point."""
        plan = self._space.plan(point, self._weights)
        zeroed = self._space.zeroed(plan)
        self._trainer.load_weights(masked_weights(self._space, self._weights, zeroed))
        try:
            if self._batches > 0:
                self._trainer.recalibrate(self._batches, fast=True, images=self._images)
            return self._trainer.evaluate(self._data, self._limit, fast=True)
        finally:
            self._trainer.load_weights(self._weights)
