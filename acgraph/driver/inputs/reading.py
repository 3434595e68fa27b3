"""Check that the imported model computes what its file computes."""

from pathlib import Path

from acgraph.backends.ort.equivalence import check_equivalence
from acgraph.errors import VerifyError
from acgraph.ir import Model, input_sizes, read_model, resolve_sizes


def check_reading(model: Model) -> None:
    """Compare a model with its file, if operators were replaced during the import.

    Raises:
        VerifyError: The two differ: an operator of the file was not imported correctly.
        BackendError: ONNX Runtime cannot run the file.
    """
    if not model.expanded or not Path(model.source).is_file():
        return
    whole = _with_all_outputs(model)
    equivalence = check_equivalence(whole, model.source, sizes=input_sizes(whole))
    if not equivalence.passed:
        reason = next(f"output '{e.name}': {e.reason}" for e in equivalence.per_output if e.reason)
        raise VerifyError(
            f"the standard operators that replace {', '.join(sorted(model.expanded))} compute "
            f"something else: {reason}",
            location=model.location(),
            hint="export the model again without ONNX Runtime's optimisation, and report these "
            "operators as a bug",
        )


def _with_all_outputs(model: Model) -> Model:
    """Return a model with all outputs of its file, if some were removed."""
    whole = read_model(model.source)
    if len(whole.graph.outputs) == len(model.graph.outputs):
        return model
    resolve_sizes(whole, input_sizes(model).shapes)
    return whole
