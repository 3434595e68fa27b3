"""Write the models: the compact one, its ``.ort`` file for phones, the masked and the int8 one."""

from dataclasses import replace
from pathlib import Path

from acgraph.backends.ort.mobile import write_ort
from acgraph.driver.checkpoint.checkpoints import ORIGINAL
from acgraph.driver.results.folder import CHECKPOINTS
from acgraph.driver.results.metadata import describe
from acgraph.driver.results.quantise import quantise
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import Files, State, Warnings, equivalence_of, lowered_of, written
from acgraph.ir import make_folder, stored_size, write_model

#: The original without the removed outputs.
SELECTED = "selected.onnx"


def export(context: Context, state: State) -> State:
    """Write all models to the temporary folder for results.

    The metadata of the compact model contains its source, its rate and the error of the check.
    """
    lowered, folder = lowered_of(state), written(state).folder
    before, after = (stored_size(model)[0] for model in (context.original.model, lowered.small))
    describe(
        lowered.small,
        source=lowered.plan.source_sha256,
        rate=before / max(after, 1),
        error=equivalence_of(state).max_rel_error,
    )
    write_model(lowered.masked, folder / "masked.onnx")
    write_model(lowered.small, folder / "model.onnx")
    write_ort(folder / "model.onnx", folder / "model.ort")
    models = [_original_file(context), folder / "model.onnx"]
    examples, warnings = 0, Warnings(context, state)
    if context.config.quantize == "int8":
        target = folder / "model.int8.onnx"
        examples = quantise(context, models[1], target, warnings.add)
        models += [target] if examples else []
    files = Files(folder=folder, models=tuple(models), int8_examples=examples)
    return replace(state, files=files, warnings=warnings.texts)


def _original_file(context: Context) -> Path:
    """Return the file of the original to compare with.

    A model from standard input is stored with the checkpoints, and so is one without its removed
    outputs.
    """
    if context.config.outputs:
        file = context.config.output / CHECKPOINTS / SELECTED
        make_folder(file.parent)
        write_model(context.original.model, file)
        return file
    if context.config.model != "-":
        return Path(context.config.model)
    return context.config.output / CHECKPOINTS / ORIGINAL
