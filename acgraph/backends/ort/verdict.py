"""The result of the equivalence check: for each output and intermediate tensor, and overall."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputEquivalence:
    """The difference of one output, or intermediate tensor, between the two models.

    Attributes:
        name: Name of the output or tensor.
        max_abs_error: Largest difference over all inputs.
        max_rel_error: Largest, over all inputs, of the largest difference divided by the largest
            magnitude of the reference. If the output was compared before its last operators, both
            errors are those of the tensors there.
        passed: Whether the error is within the limit; for values that are not float, whether they
            are equal.
        vacuous: Whether the comparison could hardly have failed: the reference is constant, or
            depends on the inputs no more than on rounding.
        reason: Why the comparison failed; empty if it passed.
        noise: Change of the reference by rounding alone: a relative error, or the share of values
            that differ if they are not float; 0 if it was not measured.
        remark: How the output was compared, if in another way than usual.
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
    """The result of the equivalence check.

    Attributes:
        max_abs_error: Largest difference of any output; infinite if shapes differ or there is NaN.
        max_rel_error: Largest relative error of any output.
        passed: Whether all outputs and intermediate tensors passed.
        vacuous: Whether no output could have failed, see ``OutputEquivalence.vacuous``.
        tolerance: Largest allowed relative error.
        inputs: Number of sets of inputs.
        per_output: Result for each output.
        inside: Result for each intermediate tensor.
        notes: Inputs that could not be used, with the reason, and outputs that were compared in
            another way.
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
        """Failed outputs with their reasons, then the first failed intermediate tensor."""
        outputs = [f"output '{x.name}': {x.reason}" for x in self.per_output if x.reason]
        inside = [f"tensor '{x.name}': {x.reason}" for x in self.inside if x.reason]
        return [*outputs, *inside[:1]]


def untouched() -> EquivalenceResult:
    """Return the result for a model in which nothing was cut, without a comparison."""
    return EquivalenceResult(
        max_abs_error=0.0,
        max_rel_error=0.0,
        passed=True,
        vacuous=False,
        tolerance=0.0,
        inputs=0,
        per_output=(),
        notes=("nothing was cut, so the model is unchanged and was not compared",),
    )


def join(
    outputs: list[OutputEquivalence],
    inside: list[OutputEquivalence],
    *,
    tolerance: float,
    inputs: int,
    notes: list[str],
) -> EquivalenceResult:
    """Combine the results of outputs and intermediate tensors."""
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
