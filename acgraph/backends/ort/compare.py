"""How far one array is from another, and whether that says anything."""

from dataclasses import dataclass, field

import numpy as np

from acgraph.ir import Array

#: Below this magnitude a float32 reference counts as zero, and any difference from it as infinite.
_TINY = float(np.finfo(np.float32).tiny)


def array_errors(value: Array, reference: Array) -> tuple[float, float, str]:
    """Return absolute error, relative error, and why the two cannot be equal (or nothing).

    The relative error is ``max|value - reference| / max|reference|``. Arrays that are not float
    have error 0 or infinity.
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


def unlikeness(value: Array, reference: Array) -> float:
    """Return how far two arrays are apart: the relative error, or the share that differs.

    The latter is of arrays that are not float; infinite where the shapes differ.
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
    """The running comparison of one value over several sets of inputs.

    Attributes:
        name: Name of the value.
        max_abs_error: Largest difference.
        max_rel_error: Largest relative error, see ``array_errors``.
        unlike: Largest ``unlikeness``; equals ``max_rel_error`` for floats.
        reason: Why it cannot be equal, of the first set of inputs where it is not.
        is_float: Whether its numbers are; False before any was seen.
        is_hopeless: Whether no rounding explains what differs: a value that one side lacks, or that
            is no number, or of another type.
    """

    name: str
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    unlike: float = 0.0
    reason: str = ""
    is_float: bool = False
    is_hopeless: bool = False
    _firsts: dict[tuple[int, ...], Array] = field(default_factory=dict)
    _alike: int = 0
    _scale: float = 0.0
    _change: float | None = None
    _is_constant: bool = True
    _is_same: bool = True

    def add(self, value: Array | None, reference: Array | None) -> None:
        """Compare one more pair; an output that one side lacks is a failure."""
        if value is None or reference is None:
            self.max_abs_error = self.max_rel_error = self.unlike = np.inf
            self.reason = self.reason or "only one of the two models makes it"
            self.is_hopeless = True
            return
        absolute, relative, reason = array_errors(value, reference)
        self.max_abs_error = max(self.max_abs_error, absolute)
        self.max_rel_error = max(self.max_rel_error, relative)
        self.unlike = max(self.unlike, unlikeness(value, reference))
        self.reason = self.reason or reason
        self.is_hopeless |= reason.startswith(("NaN", "type"))
        self._observe(reference)

    @property
    def is_vacuous(self) -> bool:
        """True where the reference is one number throughout, or the same for several inputs.

        References of different shapes say nothing of that: only those of one shape are compared.
        """
        return self._is_constant or (self._alike > 0 and self._is_same)

    @property
    def change(self) -> float | None:
        """How much the inputs change the reference, relative to its largest magnitude.

        None where a single set of inputs was seen, or what was seen cannot be subtracted.
        """
        if self._change is None or not np.isfinite(self._change):
            return None
        return self._change / max(self._scale, _TINY)

    def _observe(self, reference: Array) -> None:
        self.is_float = reference.dtype.kind == "f"
        first = self._firsts.get(reference.shape)
        if first is None:
            self._firsts[reference.shape] = reference.copy()
        else:
            self._alike += 1
            self._is_same &= bool((reference == first).all())
        start = next(iter(self._firsts.values()))
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
