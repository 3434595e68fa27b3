"""See that what was read of a file computes what the file does."""

from pathlib import Path

from acgraph.backends.ort.law import check_law
from acgraph.errors import VerifyError
from acgraph.ir import Model, input_sizes


def check_reading(model: Model) -> None:
    """Compare a model with its file, where operators were replaced when it was read.

    Raises:
        VerifyError: the two differ: an operator of the file does something else than is known.
        BackendError: ONNX Runtime cannot run the file.
    """
    if not model.expanded or not Path(model.source).is_file():
        return
    law = check_law(model, model.source, sizes=input_sizes(model))
    if not law.passed:
        reason = next(f"output '{e.name}': {e.reason}" for e in law.per_output if e.reason)
        raise VerifyError(
            f"{', '.join(sorted(model.expanded))} do not compute what they are read as: {reason}",
            location=model.location(),
            hint="export the model again without optimising it; please report the operators",
        )
