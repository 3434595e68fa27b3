"""``compress``: every stage in order."""

import logging
import time
from collections.abc import Callable

from acgraph.backends.ort.layer_timing import timing_chooser
from acgraph.backends.torch.checks import check_operators
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import ProgressSink
from acgraph.config import CompressConfig
from acgraph.config_fields import AUTO
from acgraph.data import noise
from acgraph.data.noise import is_noise_spec
from acgraph.diagnostics import counted
from acgraph.driver.alignment import SIZES, learn_align
from acgraph.driver.checkpoints import (
    ORIGINAL,
    Saved,
    load,
    record_pace,
    record_seconds,
    save,
    start,
    stored_pace,
    stored_seconds,
)
from acgraph.driver.chooser import make_chooser
from acgraph.driver.climb import climb
from acgraph.driver.cluster import check_cluster
from acgraph.driver.export import export
from acgraph.driver.fingerprints import input_fingerprints
from acgraph.driver.finish import fine_tune
from acgraph.driver.folder import CHECKPOINTS, claimed
from acgraph.driver.inputs import RunData, open_data
from acgraph.driver.network import ready_to_train
from acgraph.driver.pace import estimate, measure_pace
from acgraph.driver.purify import purify
from acgraph.driver.reading import check_reading
from acgraph.driver.rounds import cut, say_out_of_reach
from acgraph.driver.run import Run, State, budget_of, can_cut, check_metric, written_cost
from acgraph.driver.runtime import run_settings
from acgraph.driver.stages import Pace, plan_stages
from acgraph.driver.trace import compose
from acgraph.driver.workers import check_workers
from acgraph.ir import Model, infer_facts, input_sizes, read_model
from acgraph.report import Report, format_rate

log = logging.getLogger(__name__)

#: Fewer reported images than these make figures that one image moves visibly.
FEW_IMAGES = 500


def compress(
    config: CompressConfig,
    progress: ProgressSink | None = None,
    say: Callable[[str], None] | None = None,
) -> Report:
    """Compress a model and write all results to ``config.output``.

    Args:
        config: What to do.
        progress: Who shows how far training is.
        say: Who prints a line about each stage.

    Returns:
        The report; ``report.exit_code`` says whether the targets were met.

    Raises:
        AcgraphError: in the input or the run.
    """
    begin = time.perf_counter()
    if config.resume is not None:
        config = config.model_copy(update={"output": config.resume})
    original = _read_original(config)
    check_workers(config.search.workers)
    if config.search.cluster is not None:
        check_cluster(config.search.cluster)
    data = open_data(config, original)
    check_metric(config, original)
    check_operators(original)
    check_reading(original)
    inputs = input_fingerprints(original, data)
    saved, earlier_s, pace = None, 0.0, None
    if config.resume is not None:
        saved, earlier_s = load(config, inputs), stored_seconds(config)
        pace = stored_pace(config)
    with claimed(config):
        if saved is None:
            start(config, inputs, original, pace)
        try:
            run = _start(config, original, data, progress, say or log.info, pace)
            run.start, run.earlier_s, run.inputs = begin, earlier_s, inputs
            base = run.state
            if saved is not None:
                _go_on(run, saved)
            _warn_of_inputs(run)
            _warn_of_few_images(run)
            if saved is None or not saved.is_purified:
                _shrink(run, base, 0 if saved is None else saved.done)
            finished = fine_tune(run)
            if config.max_drop is not None:
                rate = budget_of(run, 1.0) / written_cost(run, finished.model)
                run.tell_frontier(rate, finished.accuracy, finished.epochs)
            return export(run, finished.model)
        finally:
            record_seconds(config, earlier_s + time.perf_counter() - begin)


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
    run.model.sizes = run.original.sizes
    run.rounds, run.history = saved.rounds, saved.history
    run.warnings = saved.warnings
    for point in saved.frontier:  # the floor may be another
        run.tell_frontier(point.rate, point.accuracy, point.epochs)
    run.say(f"going on after stage {saved.done}")


def _shrink(run: Run, base: State, done: int) -> None:
    """Run the rounds, or attempts, that are not done yet, and the purification."""
    for number, rate in enumerate(run.stages.rates, start=1):
        if number > done and _round(run, number, rate):
            _save(run, number)
    if run.stages.attempts:
        climb(run, base, lambda: _save(run, len(run.frontier)))
    _purify(run)
    _save(run, (len(run.stages.rates) or len(run.frontier)) + 1, is_purified=True)


def _read_original(config: CompressConfig) -> Model:
    """Read the model, and see that it can be trained.

    One that came from standard input was kept with the checkpoints.
    """
    is_kept = config.model == "-" and config.resume is not None
    return read_model(config.output / CHECKPOINTS / ORIGINAL if is_kept else config.model)


def _save(run: Run, done: int, *, is_purified: bool = False) -> None:
    saved = Saved(
        done=done, is_purified=is_purified, model=run.model, positions=run.positions,
        rounds=run.rounds, history=run.history, frontier=run.frontier, warnings=run.warnings,
        elapsed_s=run.elapsed_s, pace=run.pace,
    )  # fmt: skip
    save(run.asked, run.inputs, saved)


def _start(
    config: CompressConfig,
    original: Model,
    data: RunData,
    progress: ProgressSink | None,
    say: Callable[[str], None],
    pace: Pace | None,
) -> Run:
    """Judge the original, make it trainable, and plan; what is known of its speed is not timed."""
    base = TorchTrainer(original, None, teacher=original, config=config.train)
    baseline = 1.0
    if data.measure == "accuracy":
        baseline = base.evaluate(data.select)
        say(f"baseline: accuracy {100 * baseline:.2f} % on {counted(len(data.select), 'image')}")
    else:
        images = counted(len(data.select), "image")
        say(f"baseline: no labels, agreement with the original on {images} counts")
    model, inserted, copies = ready_to_train(original, data.train)
    if pace is None and (config.timing or config.time_budget is not None):
        pace = measure_pace(config, model, original, data)
        record_pace(config, pace)
    stages = plan_stages(
        config.target_rate,
        rounds=config.rounds,
        epochs=config.epochs,
        time_budget_s=config.time_budget,
        seconds_per_pass=None if pace is None else pace.pass_s,
        criterion=config.criterion,
        admm_share=config.admm_share,
        retrain_share=config.retrain_share,
    )
    say(f"plan: {stages.describe()}")
    if config.columns.enabled is None and not config.cuts_columns:
        say("cuts: filters, which lose less for as many MACs; --columns cuts columns, too")
    if pace is not None and config.time_budget is None:
        say(f"time: {estimate(config, stages, pace).describe()}")
    return Run(
        asked=config, config=_aligned(config, say), original=original, data=data, stages=stages,
        chooser=make_chooser(config.metric, timing=config.timing, settings=run_settings(config)),
        progress=progress, say=say,
        model=model, inserted=inserted, copies=copies, baseline=baseline, pace=pace,
    )  # fmt: skip


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
        trainer = TorchTrainer(
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
