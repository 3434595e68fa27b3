"""Calibration data of ``prune``: examples to measure and fit on, and held-out ones."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.backends.interface import TrainingBackend
from acgraph.data import Dataset, Unlabelled
from acgraph.diagnostics import Location
from acgraph.driver.inputs.data import open_sized
from acgraph.driver.inputs.fitted import PRUNE_MACS, fit_generated
from acgraph.errors import UsageError
from acgraph.ir import Model

log = logging.getLogger(__name__)

#: Share of the examples that are held out to evaluate a cut, and their largest number.
HELD_OUT, MAX_HELD_OUT = 0.1, 512
#: Largest number of examples that a cut is fitted to.
MAX_FITTED = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequest:
    """The calibration data.

    Attributes:
        spec: The data, as for ``acgraph.data.load_dataset``.
        mean: Mean of the pixels after ``scale``.
        std: Standard deviation of the pixels after ``scale``.
        scale: Factor that pixels are multiplied by first.
        input_shape: Shapes that the user stated, by input.
        seed: Seed of the random choice of examples.
    """

    spec: str
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    scale: float | None = None
    input_shape: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Examples without labels, drawn at random.

    Attributes:
        fitted: Examples that a cut is measured on and fitted to.
        held_out: Other examples, on which the agreement with the original is measured.
        seed: Seed of all random numbers.
    """

    fitted: Dataset
    held_out: Dataset
    seed: int = 0


def open_calibration(model: Model, request: DataRequest, backend: TrainingBackend) -> Calibration:
    """Open data for a model, and resolve the sizes of the model's input from it.

    Args:
        model: The model, whose input sizes are resolved in place.
        request: The data and how it is read.
        backend: The training backend, which improves generated data.

    Raises:
        UsageError: There are fewer than 2 examples.
        DataError: The data does not fit the model.
    """
    found = open_sized(
        request.spec, model, request.input_shape or None,
        mean=request.mean, std=request.std, scale=request.scale,
    )  # fmt: skip
    found = fit_generated(found, model, backend, lambda _: PRUNE_MACS, log.info, request.seed)
    if len(found) < 2:
        raise UsageError(
            "one example is not enough: layers are fitted to some examples and evaluated on others",
            location=Location(model=found.name),
            hint="give at least 2 examples, preferably a few hundred",
        )
    order = np.random.default_rng(request.seed).permutation(len(found)).astype(np.int64)
    held_out = min(MAX_HELD_OUT, max(1, round(HELD_OUT * len(found))))
    return Calibration(
        fitted=Unlabelled(found, order[held_out : held_out + MAX_FITTED]),
        held_out=Unlabelled(found, order[:held_out]),
        seed=request.seed,
    )
