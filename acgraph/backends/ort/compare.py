"""The difference between two arrays, and whether the comparison could have failed."""

from dataclasses import dataclass, field

import numpy as np

from acgraph.ir import Array

#: Lower bound of the magnitude of a reference in a relative error: smallest normal float32.
_TINY = float(np.finfo(np.float32).tiny)


def array_errors(value: Array, reference: Array) -> tuple[float, float, str]:
    """Return the absolute error, the relative error, and a reason if the arrays cannot be compared.

    The relative error is ``max|value - reference| / max|reference|``. For arrays that are not
    floating point, both errors are 0 or infinity. The reason is empty if there is none.
    """
    reason = _mismatch(value, reference)
    if reason:
        return np.inf, np.inf, reason
    if reference.dtype.kind != "f":
        wrong = int(np.count_nonzero(value != reference))
        reason = f"{wrong} of {value.size} values differ" if wrong else ""
        return (np.inf, np.inf, reason) if wrong else (0.0, 0.0, "")
    ours, theirs = value.astype(np.float64), reference.astype(np.float64)
    if np.isnan(ours).any() or np.isnan(theirs).any():
        return np.inf, np.inf, "NaN in the " + ("output" if np.isnan(ours).any() else "reference")
    if not ours.size:
        return 0.0, 0.0, ""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(ours == theirs, 0.0, np.abs(ours - theirs))
        error = float(difference.max())
        finite = np.abs(theirs[np.isfinite(theirs)])
        scale = max(float(finite.max()) if finite.size else 0.0, _TINY)
        return error, error / scale if error else 0.0, ""


def distance(value: Array, reference: Array) -> float:
    """Return the distance of two arrays: the relative error of floats, or the share that differs.

    It is infinite if the shapes or types differ.
    """
    if _mismatch(value, reference):
        return np.inf
    if reference.dtype.kind == "f":
        return array_errors(value, reference)[1]
    return float(np.count_nonzero(value != reference)) / max(value.size, 1)


def _mismatch(value: Array, reference: Array) -> str:
    if value.shape != reference.shape:
        return f"shape {list(value.shape)} instead of {list(reference.shape)}"
    if value.dtype != reference.dtype:
        return f"type {value.dtype} instead of {reference.dtype}"
    return ""


@dataclass(slots=True)
class Comparison:
    """The accumulated comparison of one tensor over several sets of inputs.

    Attributes:
        name: Name of the tensor.
        max_abs_error: Largest difference.
        max_rel_error: Largest relative error, see ``array_errors``.
        distances: Largest ``distance`` for each set of inputs, by its number; the largest of all
            equals ``max_rel_error`` for floats.
        reason: Why the tensor differs, for the first set of inputs with such a reason.
        is_float: Whether the tensor is floating point; False before the first comparison.
        is_hopeless: Whether rounding cannot explain the difference: the tensor is missing in one
            model, contains NaN, or has another type.
    """

    name: str
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    distances: dict[int, float] = field(default_factory=dict)
    reason: str = ""
    is_float: bool = False
    is_hopeless: bool = False
    _references: dict[tuple[int, ...], Array] = field(default_factory=dict)
    _repeats: int = 0
    _scale: float = 0.0
    _change: float | None = None
    _is_constant: bool = True
    _is_same: bool = True

    def add(self, value: Array | None, reference: Array | None, trial: int = 0) -> None:
        """Compare another pair; a tensor that is missing in one model is a failure.

        Args:
            value: Of the compact model; None if it does not compute the tensor.
            reference: Of the masked model, likewise.
            trial: Number of the set of inputs.
        """
        if value is None or reference is None:
            self.max_abs_error = self.max_rel_error = self.distances[trial] = np.inf
            self.reason = self.reason or "only one of the two models computes it"
            self.is_hopeless = True
            return
        absolute, relative, reason = array_errors(value, reference)
        self.max_abs_error = max(self.max_abs_error, absolute)
        self.max_rel_error = max(self.max_rel_error, relative)
        self.distances[trial] = max(self.distances.get(trial, 0.0), distance(value, reference))
        self.reason = self.reason or reason
        self.is_hopeless |= reason.startswith(("NaN", "type"))
        self._observe(reference)

    @property
    def is_vacuous(self) -> bool:
        """Whether the reference is constant, or the same for several inputs of one shape."""
        return self._is_constant or (self._repeats > 0 and self._is_same)

    @property
    def change(self) -> float | None:
        """How much the reference changes between inputs, relative to its largest magnitude.

        None after a single set of inputs, or if the values are not finite floats of one shape.
        """
        if self._change is None or not np.isfinite(self._change):
            return None
        return self._change / max(self._scale, _TINY)

    def _observe(self, reference: Array) -> None:
        self.is_float = reference.dtype.kind == "f"
        first = self._references.get(reference.shape)
        if first is None:
            self._references[reference.shape] = reference.copy()
        else:
            self._repeats += 1
            self._is_same &= bool((reference == first).all())
        start = next(iter(self._references.values()))
        if reference.size and start.size:
            self._is_constant &= bool((reference == start.flat[0]).all())
        if not self.is_float or not reference.size:
            return
        with np.errstate(invalid="ignore", over="ignore"):
            numbers = reference.astype(np.float64)
            self._scale = max(self._scale, float(np.abs(numbers).max()))
            if first is not None:
                step = float(np.abs(numbers - first.astype(np.float64)).max())
                self._change = max(self._change or 0.0, step)
