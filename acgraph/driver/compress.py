"""``compress``: run every stage in order, with checkpoints between them."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import replace

from acgraph.backends.training import ProgressSink
from acgraph.config import CompressConfig
from acgraph.diagnostics import Location, first_line
from acgraph.driver.checkpoint.checkpoints import (
    check_run,
    load,
    record_seconds,
    save,
    start,
    stored_seconds,
)
from acgraph.driver.checkpoint.fingerprints import input_fingerprints
from acgraph.driver.checkpoint.resuming import resume_command
from acgraph.driver.opening import first_state, open_context, open_inputs
from acgraph.driver.passes import PassSettings
from acgraph.driver.pipeline import TRAINING, WRITING, is_trained, run_stages
from acgraph.driver.results.folder import FAILED_CHECK, claimed, put_in_place, staged
from acgraph.driver.state.context import Clock, Context, Reporter
from acgraph.driver.state.functions import UserFunctions
from acgraph.driver.state.state import Files, State, equivalence_of
from acgraph.errors import AcgraphError, BackendError, VerifyError
from acgraph.ir import make_folder
from acgraph.report import Report

log = logging.getLogger(__name__)


def compress(
    config: CompressConfig,
    progress: ProgressSink | None = None,
    status: Callable[[str], None] | None = None,
    begin: float | None = None,
    passes: PassSettings | None = None,
    functions: UserFunctions | None = None,
) -> Report:
    """Compress a model and write all results to ``config.output``.

    :func:`run` does the same and returns the final state, with the models beside the report.

    Args:
        config: The options.
        progress: Callback for the progress of training.
        status: Callback for status lines.
        begin: Start time of the run in seconds of ``time.perf_counter``; now by default.
        passes: How the passes are instrumented that make the trainable and the written graph.
        functions: Functions of the user, if there are any.

    Returns:
        The report; ``report.exit_code`` is 0 if the targets were met.

    Raises:
        AcgraphError: The input or the run failed.
    """
    report = run(config, progress, status, begin, passes, functions).report
    assert report is not None
    return report


def run(
    config: CompressConfig,
    progress: ProgressSink | None = None,
    status: Callable[[str], None] | None = None,
    begin: float | None = None,
    passes: PassSettings | None = None,
    functions: UserFunctions | None = None,
) -> State:
    """Compress a model as :func:`compress` does, and return the state after the last stage.

    Returns:
        The state: ``report``; ``lowered.small`` and ``lowered.masked``, the models in memory;
        ``lowered.positions``, the kept indices of every constant of the original, by name and
        axis; ``equivalence``, the result of the equivalence check.

    Raises:
        AcgraphError: The input or the run failed.
    """
    begin = time.perf_counter() if begin is None else begin
    if config.resume is not None:
        config = config.model_copy(update={"output": config.resume})
        check_run(config, functions)
    inputs = open_inputs(config, functions, status or log.info)
    fingerprints = input_fingerprints(inputs.original, inputs.data)
    state, earlier_s = None, 0.0
    if config.resume is not None:
        state, earlier_s = load(config, fingerprints, functions), stored_seconds(config)
    with claimed(config):
        if state is None:
            start(config, fingerprints, inputs.original, functions)
        try:
            reporter = Reporter(status or log.info, progress)
            clock = Clock(begin, earlier_s, config.time_budget)
            context = open_context(config, inputs, reporter, clock, passes)
            state = first_state(context) if state is None else _resumed(context, state)
            return _write(context, run_stages(TRAINING, context, state, _saved))
        finally:
            record_seconds(config, earlier_s + time.perf_counter() - begin)


def _resumed(context: Context, state: State) -> State:
    """Resume from a checkpoint, and report which one."""
    for network in (state.network, state.prepared):
        original = context.original.model
        network.model.sizes, network.model.bounds = original.sizes, original.bounds
    if is_trained(state):
        context.reporter.status(
            "the network is already trained; only the results are written again"
        )
    else:
        context.reporter.status(f"continuing after stage '{state.checkpoint}'")
        context.reporter.status(f"plan: {state.schedule.describe()}")
    for text in state.warnings:
        context.reporter.warn(text)
    return state


def _saved(context: Context, state: State, name: str) -> State:
    """Store a state, without the partial fine-tuning, which belongs to an earlier graph."""
    kept = replace(state, checkpoint=name, partial_fit=None)
    save(context.requested, kept, context.clock.elapsed_s)
    return kept


def _write(context: Context, state: State) -> State:
    """Write the results; if that fails, the error's hint says that the training is not lost."""
    kept = (
        f"the trained network is saved: {resume_command(context.requested)} writes the results "
        "without training again"
    )
    try:
        return _written(context, state)
    except AcgraphError as error:
        found = error.diagnostic
        hint = f"{found.hint}; {kept}" if found.hint else kept
        raise type(error)(found.message, location=found.location, hint=hint) from error
    except Exception as error:
        raise BackendError(
            f"the results cannot be written: {type(error).__name__}: {first_line(error)}",
            location=Location(model=str(context.requested.output)),
            hint=f"this is a bug in acgraph; --debug shows a traceback; {kept}",
        ) from error


def _written(context: Context, state: State) -> State:
    """Run the stages that write, and move their results to the output folder.

    Raises:
        VerifyError: The compact model is not equivalent to the masked one; the results are then in
            a separate folder whose name says so.
    """
    output = context.config.output
    context.trainers.release()
    with staged(output) as folder:
        done = run_stages(WRITING, context, replace(state, files=Files(folder=folder, models=())))
        equivalence = equivalence_of(done)
        if equivalence.passed:
            put_in_place(folder, output)
            shutil.rmtree(output / FAILED_CHECK, ignore_errors=True)
            return done
        make_folder(output / FAILED_CHECK)
        put_in_place(folder, output / FAILED_CHECK)
    raise VerifyError(
        f"the equivalence check failed: {equivalence.failures[0]}",
        location=Location(model=str(output / FAILED_CHECK / "model.onnx")),
        hint="do not deploy this model; acgraph verify can compare it with masked.onnx in the same "
        "folder",
    )
