"""The data of ``prune``: on what a cut is measured and fitted, and on what it is judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.data import (
    Batch,
    Dataset,
    Indices,
    Labels,
    Subset,
    cut_indices,
    load_dataset,
)  # fmt: skip
from acgraph.data.made import is_made_spec
from acgraph.diagnostics import Location
from acgraph.driver.inputs.data import input_specs, resolve_sizes_from
from acgraph.errors import UsageError
from acgraph.ir import Model, resolve_sizes

#: Share of the examples that a cut is judged by, and how many these are at most.
HELD_OUT, MAX_HELD_OUT = 0.1, 512
#: Examples that a cut is fitted to, at most.
MAX_FITTED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequest:
    """What the data is and how it is read, see ``acgraph.data.load_dataset``."""

    spec: str
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    scale: float | None = None
    input_shape: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    seed: int = 0


class Unlabelled(Subset):
    """Some examples of another dataset without their labels."""

    @property
    def labels(self) -> Labels | None:
        """None."""
        return None

    def batch(self, indices: Indices) -> Batch:
        """Read examples alone."""
        found = super().batch(indices)
        return Batch(found.inputs, None, found.axes)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Examples without labels, drawn at random.

    Attributes:
        fitted: What a cut is measured on and fitted to.
        judged: Others, on which it is said how much of the outputs is kept.
        seed: Of all chance.
    """

    fitted: Dataset
    held_out: Dataset
    seed: int = 0

    def reader(self, batch: int) -> tuple[Callable[[int], Batch], int]:
        """Return what reads a batch, and how many batches there are."""
        indices = np.arange(len(self.fitted), dtype=np.int64)
        parts = list(cut_indices(self.fitted, indices, batch))
        return (lambda number: self.fitted.batch(parts[number])), len(parts)


def open_calibration(model: Model, request: DataRequest) -> Calibration:
    """Open data for a model, and settle the sizes of its input by it.

    Args:
        model: The model; the sizes of its inputs are settled.
        request: What the data is.

    Raises:
        UsageError: there are fewer than 2 examples.
        DataError: the data does not fit the model.
    """
    is_made, stated = is_made_spec(request.spec), request.input_shape or None
    if is_made:  # it has the sizes of the run, which no data states
        resolve_sizes(model, stated)
    found = load_dataset(
        request.spec,
        inputs=input_specs(model, stated, whole=is_made),
        mean=request.mean,
        std=request.std,
        scale=request.scale,
    )
    if not is_made:
        resolve_sizes_from(model, found, stated)
    if len(found) < 2:
        raise UsageError(
            "one example is too little: a cut is fitted to some and judged by others",
            location=Location(model=found.name),
            hint="give at least 2, better some hundred",
        )
    order = np.random.default_rng(request.seed).permutation(len(found)).astype(np.int64)
    judged = min(MAX_HELD_OUT, max(1, round(HELD_OUT * len(found))))
    return Calibration(
        fitted=Unlabelled(found, order[judged : judged + MAX_FITTED]),
        held_out=Unlabelled(found, order[:judged]),
        seed=request.seed,
    )
