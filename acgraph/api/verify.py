"""``acgraph.verify``: check that two models are equivalent, the compact and the masked one."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from acgraph.api.call import checked
from acgraph.api.session_data import Numbers, open_data, refuse_without_data, say_assumed
from acgraph.api.types import DataLike, ModelLike, ShapesLike, as_files, read_shapes
from acgraph.backends.ort.equivalence import EquivalenceResult, check_equivalence
from acgraph.backends.ort.examples import feeds_of
from acgraph.backends.ort.inputs import fixed_batch
from acgraph.backends.ort.session import Session
from acgraph.backends.ort.sizes import file_sizes
from acgraph.data import Dataset, cut_indices, spread_indices
from acgraph.data.in_memory import registered_data
from acgraph.ir import Array

_BATCH = 16


@dataclass(frozen=True, repr=False)
class VerifyResult:
    """The result of an equivalence check.

    Attributes:
        check: Errors of all outputs, and of intermediate values.
    """

    check: EquivalenceResult

    @property
    def passed(self) -> bool:
        """Whether every output is within the tolerance."""
        return self.check.passed

    @property
    def vacuous(self) -> bool:
        """Whether no output depends on the inputs, so that the check shows nothing."""
        return self.check.vacuous

    @property
    def max_rel_error(self) -> float:
        """The largest relative error over all outputs."""
        return self.check.max_rel_error

    def __repr__(self) -> str:
        word = "passed" if self.passed else f"failed: {self.check.failures[0]}"
        return f"VerifyResult({word}, relative error {self.max_rel_error:.1e})"


@checked
def verify(
    compact: ModelLike,
    against: ModelLike,
    *,
    data: DataLike = None,
    mean: Numbers = None,
    std: Numbers = None,
    scale: float | None = None,
    limit: int = 64,
    seeds: int = 3,
    tolerance: float = 1e-4,
    input_shape: ShapesLike | None = None,
) -> VerifyResult:
    """Compare the outputs of two models on random inputs, and on data if there is any.

    Args:
        compact: The compact model: a path (also of a ``.ort`` file), bytes, an
            ``onnx.ModelProto`` or an ``acgraph.Model``.
        against: The masked model, likewise.
        data: Examples to compare on, as for ``acgraph.compress``.
        mean: Mean of the pixels of uint8 images after ``scale``.
        std: Standard deviation of these pixels.
        scale: Factor that uint8 pixels are multiplied by first.
        limit: The largest number of examples to compare on.
        seeds: Number of random inputs to compare on.
        tolerance: Largest relative error allowed for an output.
        input_shape: Shapes by input name, for inputs with dynamic dimensions.

    Returns:
        The errors of every output, and whether the check passed.

    Raises:
        UsageError: An option is wrong.
        DataError: The data does not fit the model.
    """
    if data is None:
        refuse_without_data(mean=mean, std=std, scale=scale)
    shapes = read_shapes(input_shape)
    with as_files(compact, against) as (ours, reference), registered_data({"data": data}) as specs:
        session = Session(reference)
        given: list[dict[str, Array]] = []
        if "data" in specs:
            dataset = open_data(specs["data"], reference, session, shapes, mean, std, scale)
            given = list(_inputs(session, dataset, limit))
        else:
            session.sizes = file_sizes(reference, session, shapes)
            say_assumed(session.sizes)
        return VerifyResult(
            check_equivalence(
                ours,
                reference,
                seeds=seeds,
                inputs=given,
                tolerance=tolerance,
                sizes=session.sizes,
            )
        )


def _inputs(session: Session, dataset: Dataset, limit: int) -> Iterator[dict[str, Array]]:
    size = fixed_batch(session) or _BATCH
    indices = spread_indices(len(dataset), limit)
    for part in cut_indices(dataset, indices, size):
        if fixed_batch(session):
            part = np.resize(part, size)  # the last batch is filled up with repeated examples
        yield feeds_of(session, dataset.batch(part))
