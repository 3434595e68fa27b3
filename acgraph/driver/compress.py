"""``compress``: every stage in order."""

import logging
import shlex
import time
from collections.abc import Callable

from acgraph.backends.interface import Trainer, TrainingBackend
from acgraph.backends.ort.layer_timing import timing_chooser
from acgraph.backends.select import training_backend
from acgraph.backends.training import ProgressSink
from acgraph.config import CompressConfig
from acgraph.config_fields import AUTO
from acgraph.data import noise
from acgraph.data.noise import is_noise_spec
from acgraph.diagnostics import Location, counted, first_line
from acgraph.driver.checkpoint.checkpoints import (
    Saved,
    load,
    read_original,
    record_pace,
    record_seconds,
    save,
    start,
    stored_pace,
    stored_seconds,
)
from acgraph.driver.checkpoint.fingerprints import fingerprint_notes, input_fingerprints
from acgraph.driver.inputs.bounds import asked_bounds
from acgraph.driver.inputs.data import RunData, open_data
from acgraph.driver.inputs.reading import check_reading
from acgraph.driver.inputs.trainable import ready_to_train
from acgraph.driver.judging.cluster import check_cluster
from acgraph.driver.judging.images import affordable_evaluations, whole_images
from acgraph.driver.judging.workers import check_workers
from acgraph.driver.latency.alignment import SIZES, learn_align
from acgraph.driver.latency.chooser import make_chooser
from acgraph.driver.latency.runtime import run_settings
from acgraph.driver.results.folder import claimed
from acgraph.driver.results.metadata import reserve
from acgraph.driver.schedule.budget import STATISTICS_SHARE, HurriedChooser, fewer_examples
from acgraph.driver.schedule.memory import memory_bytes
from acgraph.driver.schedule.pace import estimate, image_seconds, measure_pace, with_mode
from acgraph.driver.schedule.plan import plan_stages
from acgraph.driver.stages.climb import climb
from acgraph.driver.stages.export import export
from acgraph.driver.stages.fine_tune import fine_tune
from acgraph.driver.stages.purify import purify
from acgraph.driver.stages.rehearse import rehearse
from acgraph.driver.stages.rounds import cut, say_out_of_reach
from acgraph.driver.state.positions import compose
from acgraph.driver.state.run import Run, State, budget_of, can_cut, check_metric, written_cost
from acgraph.errors import AcgraphError, BackendError
from acgraph.ir import Model, infer_facts, input_sizes
from acgraph.lowering.base import Chooser
from acgraph.report import Report, format_rate

log = logging.getLogger(__name__)

#: Share of a time budget for measuring latency at the end, and when no layer is timed any more.
MEASURING_SHARE, TIMING_UNTIL = 0.06, 0.92
#: Fewer reported images than these make figures that one image moves visibly.
FEW_IMAGES = 500


def compress(
    config: CompressConfig,
    progress: ProgressSink | None = None,
    say: Callable[[str], None] | None = None,
    begin: float | None = None,
) -> Report:
    """Compress a model and write all results to ``config.output``.

    Args:
        config: What to do.
        progress: Who shows how far training is.
        say: Who prints a line about each stage.
        begin: When the run began, on the clock of ``time.perf_counter``; now by default.

    Returns:
        The report; ``report.exit_code`` says whether the targets were met.

    Raises:
        AcgraphError: in the input or the run.
    """
    begin = time.perf_counter() if begin is None else begin
    if config.resume is not None:
        config = config.model_copy(update={"output": config.resume})
    original = read_original(config)
    original.bounds = asked_bounds(config, original)
    backend = training_backend()
    backend.check_operators(original)
    check_workers(config.search.workers, backend.processes)
    if config.search.cluster is not None:
        check_cluster(config.search.cluster)
    data = open_data(config, original)
    check_metric(config, original)
    check_reading(original)  # at the sizes of the data
    inputs = input_fingerprints(original, data)
    saved, earlier_s, pace = None, 0.0, None
    if config.resume is not None:
        saved, earlier_s = load(config, inputs), stored_seconds(config)
        pace = stored_pace(config)
    with claimed(config):
        if saved is None:
            start(config, inputs, original, pace)
        try:
            run = _start(config, backend, original, data, progress, say or log.info, begin)
            run.earlier_s, run.pace = earlier_s, pace
            _train(run, saved)
            return _export(run)
        finally:
            record_seconds(config, earlier_s + time.perf_counter() - begin)


def _export(run: Run) -> Report:
    """Write the results; where that fails, say that the training is not lost."""
    folder = shlex.quote(str(run.asked.output))
    kept = (
        f"the trained network is kept: acgraph compress --resume {folder} writes the results "
        "without training again"
    )
    try:
        return export(run, run.model)
    except AcgraphError as error:
        found = error.diagnostic
        hint = f"{found.hint}; {kept}" if found.hint else kept
        raise type(error)(found.message, location=found.location, hint=hint) from error
    except Exception as error:
        raise BackendError(
            f"the results cannot be written: {type(error).__name__}: {first_line(error)}",
            location=Location(model=str(run.asked.output)),
            hint=f"this is a bug, which --debug shows; {kept}",
        ) from error


def _train(run: Run, saved: Saved | None) -> None:
    """Do what comes before the results are written, or what is left of it."""
    base = run.state
    for note in fingerprint_notes(run.data):
        run.say(note)
    if saved is None or not saved.is_trained:
        run.rehearsal = rehearse(run)
        run.say(f"rehearsal: {run.rehearsal.describe()}")
        _plan(run)
    if saved is not None:
        _go_on(run, saved)
    _warn_of_inputs(run)
    _warn_of_few_images(run)
    if saved is None or not saved.is_purified:
        _shrink(run, base)
    if saved is None or not saved.is_trained:
        _finish(run)


def _warn_of_inputs(run: Run) -> None:
    """Say what was read with reservations: the file, the sizes of its inputs, the data."""
    found = infer_facts(run.original, assume=True)
    for remark in (*run.original.remarks, *found.remarks(), input_sizes(run.original).remark()):
        if remark:
            run.warn(remark)
    if is_noise_spec(run.config.data or ""):
        run.warn(noise.WARNING)


def _warn_of_few_images(run: Run) -> None:
    count = len(run.data.report)
    if count < FEW_IMAGES:
        run.warn(
            f"{run.data.measure} is measured on {counted(count, 'example')}: one is "
            f"worth {100 / count:.2g} points"
        )


def _go_on(run: Run, saved: Saved) -> None:
    run.model, run.positions = saved.model, saved.positions
    run.model.sizes, run.model.bounds = run.original.sizes, run.original.bounds
    run.rounds, run.history = saved.rounds, saved.history
    run.warnings, run.done, run.fine_tune = saved.warnings, saved.done, saved.fine_tune
    for remark in saved.remarks:
        run.warn(remark)
    for point in saved.frontier:  # the floor may be another
        run.tell_frontier(point.rate, point.accuracy, point.epochs)
    if saved.is_trained:
        run.say("the network is trained: only the results are written again")
    else:
        run.say(f"going on after stage {saved.done}")


def _shrink(run: Run, base: State) -> None:
    """Run the rounds, or attempts, that are not done yet, and the purification."""
    for number, rate in enumerate(run.stages.rates, start=1):
        if number > run.done and _round(run, number, rate):
            _save(run, number)
    if run.stages.attempts:
        climb(run, base, lambda: _save(run, len(run.frontier)))
    _purify(run)
    _save(run, (len(run.stages.rates) or len(run.frontier)) + 1, is_purified=True)


def _finish(run: Run) -> None:
    """Fine-tune, and save what came of it before anything is made of it."""
    finished = fine_tune(run)
    if run.config.max_drop is not None:
        rate = budget_of(run, 1.0) / written_cost(run, finished.model)
        run.tell_frontier(rate, finished.accuracy, finished.epochs)
    run.model = finished.model
    _save(run, run.done + 1, is_purified=True, is_trained=True)


def _save(run: Run, done: int, *, is_purified: bool = False, is_trained: bool = False) -> None:
    saved = Saved(
        done=done, is_purified=is_purified, is_trained=is_trained, model=run.model,
        positions=run.positions, rounds=run.rounds, history=run.history, frontier=run.frontier,
        warnings=run.warnings, elapsed_s=run.elapsed_s, pace=run.pace,
    )  # fmt: skip
    save(run.asked, saved)
    run.done = done


def _start(
    config: CompressConfig,
    backend: TrainingBackend,
    original: Model,
    data: RunData,
    progress: ProgressSink | None,
    say: Callable[[str], None],
    begin: float,
) -> Run:
    """Judge the original and make it trainable."""
    asked, budget_s, statistics_s = config, config.time_budget, None
    base = backend.trainer(original, None, teacher=original, config=config.train)
    if budget_s is not None:
        data = _judged_in_time(config, base, data, say)
        statistics_s = STATISTICS_SHARE * budget_s
    baseline = 1.0
    if data.measure == "accuracy":
        baseline = base.evaluate(data.select)
        say(f"baseline: accuracy {100 * baseline:.2f} % on {counted(len(data.select), 'image')}")
    else:
        images = counted(len(data.select), "image")
        say(f"baseline: no labels, agreement with the original on {images} counts")
    model, inserted, copies = ready_to_train(original, data.train, backend, statistics_s)
    reserve(model)
    if budget_s is not None:
        config = with_mode(config, backend, model, original, data)
    run = Run(
        asked=asked, config=_aligned(config, say), original=original, data=data,
        backend=backend, chooser=_chooser(config, begin), start=begin,
        progress=progress, say=say,
        model=model, inserted=inserted, copies=copies, baseline=baseline,
    )  # fmt: skip
    if remark := base.describe_fixed_batch():
        run.warn(remark)
    return run


def _plan(run: Run) -> None:
    """Split the budget over the stages; what is known of the host's speed is not timed again."""
    config = run.config
    if run.pace is None and (config.timing or config.time_budget is not None):
        run.pace = measure_pace(config, run.backend, run.model, run.original, run.data)
        record_pace(config, run.pace)
    run.stages = plan_stages(
        config.target_rate,
        rounds=config.rounds,
        epochs=config.epochs,
        time_budget_s=config.time_budget,
        seconds_per_pass=None if run.pace is None else run.pace.pass_s,
        elapsed_s=0.0 if config.time_budget is None else time.perf_counter() - run.start,
        export_s=_export_seconds(run),
        criterion=config.criterion,
        admm_share=config.admm_share,
        retrain_share=config.retrain_share,
    )
    run.say(f"plan: {run.stages.describe()}")
    if config.columns.enabled is None and not config.cuts_columns:
        run.say("cuts: filters, which lose less for as many MACs; --columns cuts columns, too")
    if run.pace is not None and config.time_budget is None:
        affordable = affordable_evaluations(run.model, whole_images(config, run.data))
        run.say(f"time: {estimate(config, run.stages, run.pace, affordable).describe()}")
    needed = memory_bytes(config, run.backend, run.model, run.data.train)
    run.say(f"memory: at most about {needed / 2**30:.2g} GiB")


def _export_seconds(run: Run) -> float:
    """What the export will take of a time budget: as its rehearsal, all examples and latency."""
    budget_s = run.config.time_budget
    if budget_s is None or run.rehearsal is None or run.pace is None:
        return 0.0
    judging_s = 2 * len(run.data.report) * run.pace.image_s  # of two models
    measuring_s = MEASURING_SHARE * budget_s if run.config.timing else 0.0
    return run.rehearsal.check_s + run.rehearsal.export_s + judging_s + measuring_s


def _judged_in_time(
    config: CompressConfig, judge: Trainer, data: RunData, say: Callable[[str], None]
) -> RunData:
    """Leave as many examples to judge by as the time budget allows, and say so."""
    image_s = image_seconds(judge, data.select, config.train.batch_size)
    less = fewer_examples(data, image_s, config.time_budget or 0.0)
    for name, before, after in (
        ("selection", data.select, less.select), ("report", data.report, less.report)
    ):  # fmt: skip
        if len(after) < len(before):
            say(f"{name} split: {len(after)} of {len(before)} examples, for the time budget")
    return less


def _chooser(config: CompressConfig, begin: float) -> Chooser:
    """Choose forms by timing, with a time budget as long as that leaves time for the rest."""
    chooser = make_chooser(config.metric, timing=config.timing, settings=run_settings(config))
    if config.time_budget is None or not config.timing:
        return chooser
    untimed = make_chooser(config.metric, timing=False)
    return HurriedChooser(chooser, untimed, begin + TIMING_UNTIL * config.time_budget)


def _aligned(config: CompressConfig, say: Callable[[str], None]) -> CompressConfig:
    """Put a number for ``align auto``."""
    if config.asked_align != AUTO:
        return config
    step = learn_align(timing_chooser(settings=run_settings(config)))
    say(f"align: {step}, by the time that layers of {SIZES[0]} to {SIZES[-1]} filters take here")
    return config.model_copy(update={"align": step})


def _round(run: Run, number: int, rate: float) -> bool:
    """Run a round; False where there was nothing to do, or nothing left to cut."""
    cost, last = written_cost(run, run.model), number == len(run.stages.rates)
    if cost <= budget_of(run, rate):
        run.say(f"round {number}: at {format_rate(rate)} already")
        return False
    result = cut(run, f"round {number}", number, rate, cost=cost, is_exact=last)
    if last and (result is None or result.is_exhausted):
        say_out_of_reach(run, rate)
    return result is not None


def _purify(run: Run) -> None:
    if not run.config.purify or not can_cut(run.model, run.config):
        return
    trainer = None
    if not run.rounds or run.rounds[-1].epochs > 0:
        trainer = run.backend.trainer(
            run.model, run.data.train, teacher=run.original, config=run.config.train
        )
    purified = purify(run.model, run.data, trainer, run.config, run.stages.purify_s)
    run.positions = compose(run.positions, purified.shrunk)
    run.model = purified.shrunk.model
    run.say(
        f"purification: {counted(purified.removed_sets, 'coupled set')} and "
        f"{counted(purified.removed_columns, 'column')}, "
        f"{counted(purified.evaluations, 'evaluation')}"
    )
