"""Convert class scores to probabilities, and recognise probabilities and unit vectors."""

import numpy as np

from acgraph.tasks.kinds import Array, Floats, Form


def softmax(logits: Array, axis: int = -1) -> Floats:
    """Return probabilities along an axis, in float64."""
    values = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):
        shifted = np.exp(values - values.max(axis=axis, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=axis, keepdims=True))


def sigmoid(logits: Array) -> Floats:
    """Return probabilities element by element, in float64."""
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-np.asarray(logits, np.float64))))


def probabilities(scores: Array, form: Form, axis: int = -1) -> Floats:
    """Return scores as probabilities; logits go through a softmax along ``axis``."""
    if form == "logits":
        return softmax(scores, axis)
    values = np.asarray(scores, np.float64)
    return np.exp(values) if form == "log-softmax" else values


def are_probabilities(values: Array, axis: int) -> bool:
    """Return whether values are non-negative and sum to 1 along an axis, as after a softmax."""
    if values.dtype.kind != "f" or values.shape[axis] < 2 or not values.size:
        return False
    low = values.min()
    return bool(low >= 0 and np.allclose(values.sum(axis=axis, dtype=np.float64), 1, atol=2e-3))


def are_unit(values: Array, axis: int = -1) -> bool:
    """Return whether all vectors along an axis have length 1."""
    if values.dtype.kind != "f" or values.shape[axis] < 2 or not values.size:
        return False
    lengths = np.linalg.norm(np.asarray(values, np.float64), axis=axis)
    return bool(np.allclose(lengths, 1, atol=5e-3))
