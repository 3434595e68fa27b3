"""Lazy values of constants: computed, or read from a file, at each access."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

Array = npt.NDArray[np.generic]


class Computed(LazyValues):  # type: ignore[misc]
    """Values that are computed at each access and not cached; see ``values_of``.

    Attributes:
        shape: Shape of the values.
        dtype: Type of the values.
        nbytes: Bytes of the values in memory.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike, make: Callable[[], Array]):
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.nbytes = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        self._make = make

    def load(self) -> Array:
        """Compute the values."""
        return self._make()


def lazy_values(constant: Array | gs.Constant) -> Array | Computed:
    """Return the values of a constant without computing lazy ones."""
    if isinstance(constant, np.ndarray):
        return constant
    stored = constant._values
    values: Array | Computed = stored if isinstance(stored, Computed) else constant.values
    return values


def values_of(tensor: gs.Constant) -> Array:
    """Return the values of a constant; onnx-graphsurgeon would cache computed ones."""
    values = lazy_values(tensor)
    return values.load() if isinstance(values, Computed) else values


def stored_bytes(tensor: gs.Constant) -> int:
    """Return the bytes of the values of a constant, without computing them."""
    values = tensor._values
    return 0 if values is None else int(values.nbytes)
