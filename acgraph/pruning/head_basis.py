"""The basis in which the features of a head can be cut with the smallest error, in closed form.

The scores of a head are ``q^T k``, and the output of its values is ``W v``. Both have an invertible
matrix to spare: ``q^T M M^{-1} k``. For ``M = Q^{-1/2} A D``, where ``Q`` and ``K`` are the second
moments of ``q`` and ``k``, ``Q^{1/2} K^{1/2} = A S B^T`` is a singular value decomposition and
``D = S^{1/2}``, the features are uncorrelated, and those with the largest ``S`` are the best
approximation of this rank: no other cut of as many features has a smaller mean squared error over
all pairs of positions. For values, the Gram matrix ``W^T W`` takes the place of ``K``.

CORP (2026) compensates a cut of given features of queries and keys by the same moments. Here the
features are chosen, too.
"""

import numpy as np

from acgraph.pruning.importance import FloatArray

#: Added to the moments as a share of their mean: it bounds the condition of the basis.
RIDGE = 1e-3
#: Smallest singular value for the scale of a feature, relative to the largest.
LEAST = 1e-4


def head_basis(one: FloatArray, other: FloatArray) -> FloatArray | None:
    """Return the matrix ``M`` of a change of basis; features come with falling importance.

    Args:
        one: Second moments of the left factor, ``float64 [features, features]``, which is
            multiplied by ``M^T``.
        other: Those of the right factor, which is multiplied by ``M^{-1}``.

    Returns:
        ``float64 [features, features]``; None if a factor is zero or not finite.
    """
    if not np.isfinite(one).all() or not np.isfinite(other).all():
        return None
    if np.trace(one) <= 0.0 or np.trace(other) <= 0.0:
        return None
    root, inverse_root = _roots(one)
    left, singular, _ = np.linalg.svd(root @ _roots(other)[0])
    scale = np.sqrt(np.maximum(singular, LEAST * singular[0]))
    found = inverse_root @ left * scale
    return np.asarray(found / np.sqrt(_balance(found, one, other)))


def inverse_of_basis(basis: FloatArray) -> FloatArray:
    """Return the matrix that the right factor is multiplied by."""
    return np.asarray(np.linalg.inv(basis), np.float64)


def _roots(moments: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the root of moments with a ridge, and its inverse."""
    values, vectors = np.linalg.eigh((moments + moments.T) / 2)
    values = np.sqrt(np.maximum(values, 0.0) + RIDGE * float(np.trace(moments)) / len(moments))
    return (vectors * values) @ vectors.T, (vectors / values) @ vectors.T


def _balance(basis: FloatArray, one: FloatArray, other: FloatArray) -> float:
    """Return the factor that keeps the ratio of the sizes of both factors as it was."""
    inverse = inverse_of_basis(basis)
    left = np.trace(basis.T @ one @ basis) / np.trace(one)
    right = np.trace(inverse @ other @ inverse.T) / np.trace(other)
    return float(np.sqrt(left / right))
