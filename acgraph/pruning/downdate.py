"""A layer during the elimination of its columns: its remaining weights, and the inverse of H.

A removal subtracts a product ``T^T T`` of few rows from the inverse. Such rows are collected and
subtracted in panels, so that a wide layer takes few products of large matrices. Only the diagonal
blocks, which determine the loss of each unit's removal, are updated at every step.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.pruning.importance import FloatArray

Ints = npt.NDArray[np.int64]

#: Number of rows that are collected before they are subtracted from the inverse.
PANEL = 256
#: Triangular matrices up to this size are inverted directly.
_DIRECT = 128
#: Smallest significant eigenvalue, relative to the largest: smaller ones are rounding errors.
_EPSILON = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """One layer that loses columns.

    Attributes:
        matrix: ``[filters, columns]``.
        moments: H of its input, see ``Gram.moments``, ``[columns, columns]``.
        units: ``int64 [columns]``: the unit that each column belongs to, -1 if it is always kept.
    """

    matrix: npt.NDArray[Any]
    moments: FloatArray
    units: Ints

    @property
    def energy(self) -> float:
        """Mean square of the output, ``E ||W x||^2``."""
        weights = self.matrix.astype(np.float64)
        return float(np.vdot(weights @ self.moments, weights))


@dataclass(slots=True, eq=False)
class _Group:
    """Units with the same number of columns.

    Attributes:
        units: Their numbers, ``int64 [units]``.
        columns: Indices of their columns, ``int64 [units, width]``.
        blocks: Their diagonal blocks of the inverse, ``float64 [units, width, width]``.
    """

    units: Ints
    columns: Ints
    blocks: FloatArray

    def losses(self, weights: FloatArray) -> FloatArray:
        """Return the loss of removing each unit, given the weights ``[columns, filters]``."""
        if self.columns.shape[1] == 1:
            own = weights[self.columns[:, 0]]
            scales = np.maximum(self.blocks[:, 0, 0], _TINY)
            return np.asarray(np.einsum("uf,uf->u", own, own) / scales)
        own = weights[self.columns]
        powers = own @ np.moveaxis(own, 1, 2)
        try:
            return np.asarray(np.einsum("uii->u", np.linalg.solve(self.blocks, powers)))
        except np.linalg.LinAlgError:  # numerically singular: inputs hardly vary
            roots = _root_of_inverse(self.blocks)
            return np.asarray(np.einsum("uir,uij,ujr->u", roots, powers, roots, optimize=True))

    def remove(self, units: Ints, rows: FloatArray) -> None:
        """Subtract ``rows.T @ rows`` from the blocks, and drop those of removed units."""
        if self.columns.shape[1] == 1:
            own = rows[:, self.columns[:, 0]]
            self.blocks[:, 0, 0] -= np.einsum("ru,ru->u", own, own)
        else:
            blocks = np.moveaxis(rows[:, self.columns], 0, 2)  # [units, width, rows]
            self.blocks -= blocks @ np.moveaxis(blocks, 1, 2)
        self.blocks[np.isin(self.units, units)] = np.eye(self.columns.shape[1])


class Remaining:
    """A layer during an elimination."""

    def __init__(self, reader: Reader, size: int) -> None:
        """Invert the moments of the layer's input.

        Args:
            reader: The layer.
            size: Number of units.
        """
        self._size = size
        order = np.argsort(reader.units, kind="stable")
        self._units = reader.units[order]
        energy = reader.energy
        self._scale = 1.0 / energy if energy > 0.0 else 0.0
        self._weights = reader.matrix.T[order].astype(np.float64)  # [columns, filters]
        self._inverse = _sorted_inverse(reader.moments, order)
        self._alive = np.ones(len(order), np.bool_)
        self._begin()

    def losses(self) -> FloatArray:
        """Return the current loss of removing each unit, ``float64 [size]``; 0 if not read."""
        found = np.zeros(self._size)
        for group in self._groups:
            found[group.units] = group.losses(self._weights)
        return found * self._scale

    def remove(self, units: Ints) -> float:
        """Remove units, reconstruct the other weights, and return the loss."""
        removed = np.isin(self._units, units) & self._alive
        if not removed.any():
            return 0.0
        if self._count + int(removed.sum()) > PANEL:
            self._flush()
            removed = np.isin(self._units, units)
        earlier = self._rows[: self._count]
        rows = self._inverse[removed] - earlier[:, removed].T @ earlier
        whitened = _root_of_inverse(rows[:, removed]).T @ np.hstack([rows, self._weights[removed]])
        taken, weights = whitened[:, : len(removed)], whitened[:, len(removed) :]
        self._alive &= ~removed
        self._weights -= taken.T @ weights
        self._weights[removed] = 0.0
        for group in self._groups:
            group.remove(units, taken)
        self._collect(taken)
        return float(np.vdot(weights, weights)) * self._scale

    def _begin(self) -> None:
        """Start an empty panel for the current inverse."""
        self._rows = np.empty((min(PANEL, len(self._inverse)), len(self._inverse)))
        self._count = 0
        self._groups = self._grouped()

    def _collect(self, rows: FloatArray) -> None:
        end = self._count + len(rows)
        if end > len(self._rows):  # one unit of very many columns
            self._rows = np.vstack([self._rows[: self._count], rows])
        self._rows[self._count : end] = rows
        self._count = end

    def _flush(self) -> None:
        """Subtract the collected rows from the inverse, and drop removed columns."""
        left = np.flatnonzero(self._alive)
        rows = self._rows[: self._count, left]
        product = rows.T @ rows
        self._inverse = np.subtract(self._inverse[np.ix_(left, left)], product, out=product)
        self._weights, self._units = self._weights[left], self._units[left]
        self._alive = np.ones(len(left), np.bool_)
        self._begin()

    def _grouped(self) -> list[_Group]:
        places = np.flatnonzero(self._units >= 0)
        units, starts, widths = np.unique(
            self._units[places], return_index=True, return_counts=True
        )
        found = []
        for width in np.unique(widths):
            same = widths == width
            columns = places[starts[same][:, None] + np.arange(width)]
            blocks = self._inverse[columns[:, :, None], columns[:, None, :]]
            found.append(_Group(units[same], columns, blocks))
        return found


def single_losses(reader: Reader, size: int) -> FloatArray:
    """Return the loss of removing each unit alone without reconstruction: ``float64 [size]``."""
    energy = reader.energy
    weights = reader.matrix.T.astype(np.float64)
    found = np.zeros(size)
    for unit in np.unique(reader.units[reader.units >= 0]):
        own = reader.units == unit
        found[unit] = np.vdot(reader.moments[np.ix_(own, own)] @ weights[own], weights[own])
    return found / energy if energy > 0.0 else found


def inverse_of(matrix: FloatArray) -> FloatArray:
    """Invert a symmetric positive definite matrix by fast products; the result is symmetric.

    Raises:
        numpy.linalg.LinAlgError: The matrix is not positive definite.
    """
    root = _inverse_of_triangle(np.asarray(np.linalg.cholesky(matrix), np.float64))
    return np.asarray(root.T @ root)


def _inverse_of_triangle(matrix: FloatArray) -> FloatArray:
    """Invert a lower triangular matrix by recursive halving."""
    size = len(matrix)
    if size <= _DIRECT:
        return np.asarray(np.linalg.inv(matrix))
    half = size // 2
    first = _inverse_of_triangle(matrix[:half, :half])
    second = _inverse_of_triangle(matrix[half:, half:])
    found = np.zeros_like(matrix)
    found[:half, :half] = first
    found[half:, :half] = -second @ (matrix[half:, :half] @ first)
    found[half:, half:] = second
    return found


def _root_of_inverse(matrix: FloatArray) -> FloatArray:
    """Return ``F`` such that ``F F^T`` is the inverse of positive semidefinite matrices."""
    values, vectors = np.linalg.eigh((matrix + np.swapaxes(matrix, -1, -2)) / 2)
    least = _EPSILON * np.abs(values).max(axis=-1, keepdims=True) + _TINY
    return np.asarray(vectors / np.sqrt(np.maximum(values, least))[..., None, :])


def _sorted_inverse(moments: npt.NDArray[np.floating[Any]], order: Ints) -> FloatArray:
    if (np.diff(order) > 0).all():
        return inverse_of(moments.astype(np.float64))
    return inverse_of(moments[np.ix_(order, order)].astype(np.float64))
