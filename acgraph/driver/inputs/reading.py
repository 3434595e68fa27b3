"""See that what was read of a file computes what the file does."""

from pathlib import Path

from acgraph.backends.ort.equivalence import check_equivalence
from acgraph.errors import VerifyError
from acgraph.ir import Model, input_sizes, read_model, resolve_sizes


def check_reading(model: Model) -> None:
    """Compare a model with its file, where operators were replaced when it was read.

    Raises:
        VerifyError: the two differ: an operator of the file does something else than is known.
        BackendError: ONNX Runtime cannot run the file.
    """
    if not model.expanded or not Path(model.source).is_file():
        return
    whole = _with_all_outputs(model)
    equivalence = check_equivalence(whole, model.source, sizes=input_sizes(whole))
    if not equivalence.passed:
        reason = next(f"output '{e.name}': {e.reason}" for e in equivalence.per_output if e.reason)
        raise VerifyError(
            f"{', '.join(sorted(model.expanded))} do not compute what they are read as: {reason}",
            location=model.location(),
            hint="export the model again without optimising it; please report the operators",
        )


def _with_all_outputs(model: Model) -> Model:
    """Return a model with the outputs that its file has, where some were left out."""
    whole = read_model(model.source)
    if len(whole.graph.outputs) == len(model.graph.outputs):
        return model
    resolve_sizes(whole, input_sizes(model).shapes)
    return whole
