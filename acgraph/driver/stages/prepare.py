"""The first stage: make the network trainable, and collect the warnings about the inputs."""

from dataclasses import replace

from acgraph.data.generated import generated_data_warning
from acgraph.diagnostics import counted
from acgraph.driver.checkpoint.fingerprints import fingerprint_notes
from acgraph.driver.inputs.trainable import ready_to_train
from acgraph.driver.network import Network
from acgraph.driver.results.metadata import reserve
from acgraph.driver.schedule.budget import STATISTICS_SHARE
from acgraph.driver.schedule.pace import with_mode
from acgraph.driver.state.context import Context
from acgraph.driver.state.records import Mode
from acgraph.driver.state.state import State, Warnings
from acgraph.ir import input_sizes
from acgraph.passes.store_weights import computed_weights

#: With fewer images in the report split, a single one changes the reported accuracy visibly.
FEW_IMAGES = 500


def prepare(context: Context, state: State) -> State:
    """Make the network trainable; with a time budget, choose how training runs."""
    budget_s = context.config.time_budget
    seconds = None if budget_s is None else STATISTICS_SHARE * budget_s
    untied = context.untied
    computed = computed_weights(untied.model, untied.dependency.axes.keys())
    ready = ready_to_train(
        untied.model, context.data.train, context.backend, seconds, context.passes, computed
    )
    reserve(ready.model)
    network = Network(ready.model, twin=None if ready.is_changed else untied)
    for note in fingerprint_notes(context.data):
        context.reporter.status(note)
    warnings = _first_warnings(context, state)
    context.trainers.release()  # free the original's trainer: rounds train another graph
    return replace(
        state,
        network=network,
        prepared=network,
        inserted=ready.inserted,
        mode=None if budget_s is None else _fastest_mode(context, network),
        warnings=warnings,
    )


def _fastest_mode(context: Context, network: Network) -> Mode:
    """Choose the training mode, once for the whole run."""
    config = with_mode(
        context.config, context.backend, network.model, context.original.model, context.data
    )
    train = config.train
    assert train.precision != "auto" and train.channels_last != "auto"  # noqa: PT018
    return Mode(precision=train.precision, channels_last=train.channels_last, threads=train.threads)


def _first_warnings(context: Context, state: State) -> tuple[str, ...]:
    """Return the warnings about the file, the sizes of its inputs, and the data."""
    original, warnings = context.original.model, Warnings(context, state)
    remarks = (
        context.evaluator(context.original).describe_fixed_batch(),
        *original.remarks,
        *context.untied.facts.remarks(),
        input_sizes(original).remark(),
        generated_data_warning(context.config.data),
        _few_images(context),
    )
    for remark in filter(None, remarks):
        warnings.add(remark)
    return warnings.texts


def _few_images(context: Context) -> str:
    count = len(context.data.report)
    if count >= FEW_IMAGES:
        return ""
    return (
        f"{context.data.measure} is measured on only {counted(count, 'example')}, so that "
        f"each of them counts for {100 / count:.2g} points"
    )
