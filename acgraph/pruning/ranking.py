"""Keep-flags of the largest norms."""

import numpy as np
import numpy.typing as npt

from acgraph.pruning.importance import FloatArray

BoolArray = npt.NDArray[np.bool_]


def top_mask(norms: FloatArray, keep: int) -> BoolArray:
    """Return keep-flags of exactly ``keep`` largest norms; of equal ones, the lowest index.

    >>> top_mask(np.array([1.0, 2.0, 2.0, 2.0]), 2).tolist()
    [False, True, True, False]

    Raises:
        ValueError: ``keep`` is out of range, or a norm is not finite.
    """
    if not 0 <= keep <= norms.size:
        raise ValueError(f"cannot keep {keep} of {norms.size}")
    if not np.isfinite(norms).all():
        raise ValueError("cannot rank norms that are not finite")
    mask = np.zeros(norms.size, dtype=np.bool_)
    mask[np.argsort(-norms.ravel(), kind="stable")[:keep]] = True
    return mask.reshape(norms.shape)
