"""What the equivalence check found: each output, the values inside, and all together."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputEquivalence:
    """How far one output of the compact model is from the masked model's.

    Attributes:
        name: Name of the output, or of the value inside.
        max_abs_error: Largest difference over all inputs.
        max_rel_error: Largest, over all inputs, of the largest difference divided by the largest
            magnitude of the reference. Where the output was compared before its last operators,
            both errors are those found there.
        passed: Whether that is within what is allowed; exact equality where it is not float.
        vacuous: The reference held one and the same number everywhere, or depended on the inputs
            no more than on rounding: that the two agree says next to nothing.
        reason: Why it failed, empty where it passed.
        noise: How far the reference is from itself by rounding alone, relative, or as a share of
            the values that are not float; 0 where it was not measured.
        remark: How it was compared, where not as the rest.
    """

    name: str
    max_abs_error: float
    max_rel_error: float
    passed: bool
    vacuous: bool
    reason: str = ""
    noise: float = 0.0
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EquivalenceResult:
    """The verdict over all outputs.

    Attributes:
        max_abs_error: The worst of any output; infinite where shapes differ or a NaN is found.
        max_rel_error: The same, relative.
        passed: Whether every output passed, and every value inside.
        vacuous: Whether no output could have failed, see ``OutputEquivalence.vacuous``.
        tolerance: The relative error that was allowed.
        inputs: How many sets of inputs were compared.
        per_output: Each output.
        inside: Each value inside the network that was compared as well.
        notes: What could not be tried and why, and what was compared in another way.
    """

    max_abs_error: float
    max_rel_error: float
    passed: bool
    vacuous: bool
    tolerance: float
    inputs: int
    per_output: tuple[OutputEquivalence, ...]
    inside: tuple[OutputEquivalence, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def failures(self) -> list[str]:
        """What failed and why; the outputs, or else the first place inside that differs."""
        outputs = [f"output '{x.name}': {x.reason}" for x in self.per_output if x.reason]
        inside = [f"inside, at '{x.name}': {x.reason}" for x in self.inside if x.reason]
        return [*outputs, *inside[:1]]


def untouched() -> EquivalenceResult:
    """Return the verdict on a model in which nothing was cut: there is nothing to compare."""
    return EquivalenceResult(
        max_abs_error=0.0,
        max_rel_error=0.0,
        passed=True,
        vacuous=False,
        tolerance=0.0,
        inputs=0,
        per_output=(),
        notes=("nothing was cut, so nothing was run: the model is the one that was read",),
    )


def join(
    outputs: list[OutputEquivalence],
    inside: list[OutputEquivalence],
    *,
    tolerance: float,
    inputs: int,
    notes: list[str],
) -> EquivalenceResult:
    """Put the verdicts together."""
    remarks = [f"output '{item.name}': {item.remark}" for item in outputs if item.remark]
    return EquivalenceResult(
        max_abs_error=max((item.max_abs_error for item in outputs), default=0.0),
        max_rel_error=max((item.max_rel_error for item in outputs), default=0.0),
        passed=all(item.passed for item in [*outputs, *inside]),
        vacuous=all(item.vacuous for item in outputs),
        tolerance=tolerance,
        inputs=inputs,
        per_output=tuple(outputs),
        inside=tuple(inside),
        notes=(*remarks, *notes),
    )
