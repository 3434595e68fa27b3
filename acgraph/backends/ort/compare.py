"""How far one array is from another, and whether that says anything."""

from dataclasses import dataclass

import numpy as np

from acgraph.ir import Array

#: Below this magnitude a float32 reference counts as zero, and any difference from it as infinite.
_TINY = float(np.finfo(np.float32).tiny)


def array_errors(value: Array, reference: Array) -> tuple[float, float, str]:
    """Return absolute error, relative error, and why the two cannot be equal (or nothing).

    The relative error is ``max|value - reference| / max|reference|``. Arrays that are not float
    have error 0 or infinity.
    """
    if value.shape != reference.shape:
        return np.inf, np.inf, f"shape {list(value.shape)} instead of {list(reference.shape)}"
    if value.dtype != reference.dtype:
        return np.inf, np.inf, f"type {value.dtype} instead of {reference.dtype}"
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


@dataclass(slots=True)
class Comparison:
    """The running comparison of one output over several sets of inputs."""

    name: str
    max_abs_error: float = 0.0
    max_rel_error: float = 0.0
    reason: str = ""
    _count: int = 0
    _first: Array | None = None
    _is_constant: bool = True
    _is_same: bool = True

    def add(self, value: Array | None, reference: Array | None) -> None:
        """Compare one more pair; an output that one side lacks is a failure."""
        if value is None or reference is None:
            self.max_abs_error = self.max_rel_error = np.inf
            self.reason = self.reason or "only one of the two models makes it"
            return
        absolute, relative, reason = array_errors(value, reference)
        self.max_abs_error = max(self.max_abs_error, absolute)
        self.max_rel_error = max(self.max_rel_error, relative)
        self.reason = self.reason or reason
        self._observe(reference)

    @property
    def is_vacuous(self) -> bool:
        """True where the reference is one number throughout, or the same for several inputs."""
        return self._is_constant or (self._count > 1 and self._is_same)

    def _observe(self, reference: Array) -> None:
        self._count += 1
        if self._first is None:
            self._first = reference.copy()
        if reference.size and self._first.size:
            start = self._first.flat[0]
            self._is_constant &= bool((reference == start).all())
        self._is_same &= reference.shape != self._first.shape or bool(
            (reference == self._first).all()
        )
