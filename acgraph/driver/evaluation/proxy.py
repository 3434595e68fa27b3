"""Score a point of the search without training: mask, recalibrate, evaluate."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

from acgraph.data import Dataset
from acgraph.driver.space.space import Space
from acgraph.pruning.plan import Bools, zero
from acgraph.search import Point

Arrays = Mapping[str, npt.NDArray[Any]]


class Evaluator(Protocol):
    """The methods of a trainer that the proxy needs."""

    def weights(self) -> Mapping[str, npt.NDArray[Any]]:
        """Copy all weights and running statistics."""
        ...

    def load_weights(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        """Set the named weights."""
        ...

    def recalibrate(self, batches: int, *, fast: bool = False, images: int | None = None) -> None:
        """Estimate BatchNormalization statistics again; ``fast`` uses the training precision."""
        ...

    def evaluate(self, data: Dataset, limit: int | None = None, *, fast: bool = False) -> float:
        """Return the metric on data; ``fast`` uses the training precision."""
        ...


def masked_weights(space: Space, weights: Arrays, zeroed: Mapping[str, Bools]) -> dict[str, Any]:
    """Return the weights that a cut changes: masked, and reconstructed if the space can."""
    if space.reconstruction is not None:
        return space.reconstruction.reconstruct(weights, zeroed)
    return zero(weights, zeroed)


class Proxy:
    """Scores points by the metric of the masked network with recalibrated BatchNormalization."""

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
        """Make a proxy.

        Args:
            trainer: Holds the network; its weights are restored after every call.
            space: The search space of the points.
            data: The selection split.
            limit: Number of images to evaluate on.
            batches: Number of training batches to recalibrate on; without recalibration, a hard
                cut by magnitude scores close to chance.
            images: Largest number of images of these batches; None uses all.
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
