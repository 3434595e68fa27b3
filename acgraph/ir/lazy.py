"""Values of constants that are not kept: made, or read from a file, whenever they are asked for."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

Array = npt.NDArray[np.generic]


class Computed(LazyValues):  # type: ignore[misc]
    """Values that are computed anew at each use; see ``values_of``.

    Attributes:
        shape: Their sizes.
        dtype: Their type.
        nbytes: What they take when they are there.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike, make: Callable[[], Array]):
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.nbytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self._make = make

    def load(self) -> Array:
        """Compute them."""
        return self._make()


def lazy_values(constant: Array | gs.Constant) -> Array | Computed:
    """Return the values of a constant as they are held: there, or still to be computed."""
    if isinstance(constant, np.ndarray):
        return constant
    held = constant._values
    values: Array | Computed = held if isinstance(held, Computed) else constant.values
    return values


def values_of(tensor: gs.Constant) -> Array:
    """Return the values of a constant; onnx-graphsurgeon would keep those that are computed."""
    held = lazy_values(tensor)
    return held.load() if isinstance(held, Computed) else held


def stored_bytes(tensor: gs.Constant) -> int:
    """Return how many bytes the values of a constant take, without making them."""
    held = tensor._values
    return 0 if held is None else int(held.nbytes)
