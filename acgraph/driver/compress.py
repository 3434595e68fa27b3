"""``compress``: every stage in order."""

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from acgraph.analysis.cost import model_cost
from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.backends.ort.law import check_law
from acgraph.backends.ort.mobile import write_ort
from acgraph.backends.torch.checkpoint import load_checkpoint, save_checkpoint
from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.backends.training import ProgressSink
from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.driver.checkpoints import FINE_TUNE, Saved, clear, load, save
from acgraph.driver.chooser import make_chooser
from acgraph.driver.fingerprints import input_fingerprints
from acgraph.driver.folder import CHECKPOINTS, claim
from acgraph.driver.inputs import RunData, open_data
from acgraph.driver.lower import SmallestChooser, compact
from acgraph.driver.network import ready_to_train
from acgraph.driver.outcome import layer_changes, make_report, measure_sides
from acgraph.driver.purify import purify
from acgraph.driver.round import RoundTask, run_round, training_masks
from acgraph.driver.space import Space
from acgraph.driver.stages import Stages, plan_stages
from acgraph.driver.trace import Positions, adopt_biases, compose, expand
from acgraph.errors import VerifyError
from acgraph.ir import Model, clone_model, read_model, write_bytes, write_model
from acgraph.lowering.base import Chooser
from acgraph.lowering.cost_model import CostModelChooser
from acgraph.passes.fuse_batchnorm import fuse_batchnorm
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.plan import Plan
from acgraph.pruning.tie import retie_vectors
from acgraph.report import Report, Round, SearchPoint, format_rate, write_report

log = logging.getLogger(__name__)

#: Steps that are timed to turn a time budget into epochs, and how often: torch is slow at first,
#: so the fastest counts.
TIMED_STEPS = 8
TIMED_FITS = 4
#: Fine-tuning gets at least so many seconds, even where the rounds took all the time.
LEAST_SECONDS = 5.0


@dataclass(slots=True)
class Run:
    """The state of a run: what the next stage needs."""

    config: CompressConfig
    original: Model
    data: RunData
    stages: Stages
    chooser: Chooser
    progress: ProgressSink | None
    say: Callable[[str], None]
    model: Model
    inserted: list[str]
    copies: dict[str, str]
    inputs: dict[str, str] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)
    positions: Positions = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    history: list[SearchPoint] = field(default_factory=list)


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
    start = time.perf_counter()
    if config.resume is not None:
        config = config.model_copy(update={"output": config.resume})
    original = read_model(config.model)
    data = open_data(config, original)
    inputs = input_fingerprints(original, data)
    saved = None
    if config.resume is not None:
        saved = load(config.resume / CHECKPOINTS, config, inputs)
    claim(config)
    if saved is None:
        clear(config.output / CHECKPOINTS)
    run = _start(config, original, data, progress, say or log.info)
    run.start, run.inputs = start, inputs
    done = 0
    if saved is not None:
        done = saved.done
        run.model, run.positions = saved.model, saved.positions
        run.rounds, run.history = saved.rounds, saved.history
        run.say(f"going on after stage {done}")
    for number, rate in enumerate(run.stages.rates, start=1):
        if number > done:
            _round(run, number, rate)
            _save(run, number)
    if done <= len(run.stages.rates):
        _purify(run)
        _save(run, len(run.stages.rates) + 1)
    trained = _fine_tune(run)
    return _export(run, trained)


def _save(run: Run, done: int) -> None:
    saved = Saved(
        done=done, model=run.model, positions=run.positions,
        rounds=run.rounds, history=run.history,
    )  # fmt: skip
    save(run.config.output / CHECKPOINTS, run.config, run.inputs, saved)


def _start(
    config: CompressConfig,
    original: Model,
    data: RunData,
    progress: ProgressSink | None,
    say: Callable[[str], None],
) -> Run:
    base = TorchTrainer(original, None, teacher=original, config=config.train)
    if data.measure == "accuracy":
        found = 100 * base.evaluate(data.select)
        say(f"baseline: accuracy {found:.2f} % on {len(data.select)} images")
    else:
        say(f"baseline: no labels, agreement with the original on {len(data.select)} images counts")
    model, inserted, copies = ready_to_train(original, data.train)
    stages = plan_stages(
        config.target_rate,
        rounds=config.rounds,
        epochs=config.epochs,
        time_budget_s=config.time_budget,
        seconds_per_pass=None
        if config.time_budget is None
        else _seconds_per_pass(config, model, original, data),
    )
    say(f"plan: {stages.describe()}")
    return Run(
        config=config, original=original, data=data, stages=stages,
        chooser=make_chooser(config.metric, timing=config.timing, threads=config.threads),
        progress=progress, say=say,
        model=model, inserted=inserted, copies=copies,
    )  # fmt: skip


def _seconds_per_pass(config: CompressConfig, model: Model, teacher: Model, data: RunData) -> float:
    """Train a copy for a few steps against the clock, after a few that warm torch up."""
    trainer = TorchTrainer(model, data.train, teacher=teacher, config=config.train)
    trainer.choose_mode()
    passes = TIMED_STEPS / math.ceil(len(data.train) / config.train.batch_size)
    speeds = [
        trainer.fit(epochs=passes, description="timing").images_per_second
        for _ in range(TIMED_FITS)
    ]
    return len(data.train) / max(speeds)


def _cost(run: Run, model: Model) -> float:
    """Cost of a shrunk model as it would be written, in the metric of the target.

    Nothing is timed here. Where the target is one of params or bytes, the export makes layers
    small in spite of their speed if it must, so the smallest form counts.
    """
    metric = run.config.metric
    chooser = SmallestChooser() if metric in ("params", "size") else CostModelChooser()
    small, _ = compact(model, chooser)
    cost = model_cost(small)
    return {"params": cost.params, "size": cost.bytes}.get(metric, cost.macs)


def _most_params(run: Run) -> int | None:
    """The params that the target allows, where it is one of params."""
    if run.config.metric != "params":
        return None
    return int(_budget(run, run.config.target_rate.value))


def _budget(run: Run, rate: float) -> float:
    cost = model_cost(run.original)
    before = {"params": cost.params, "size": cost.bytes}.get(run.config.metric, cost.macs)
    return before / rate


def _round(run: Run, number: int, rate: float) -> None:
    last = number == len(run.stages.rates)
    result = run_round(
        RoundTask(
            model=run.model,
            teacher=run.original,
            data=run.data,
            config=run.config,
            stages=run.stages,
            number=number,
            budget=_budget(run, rate),
            actual_cost=(lambda model: _cost(run, model)) if last else None,
            progress=run.progress,
        )
    )
    run.positions = compose(run.positions, result.shrunk)
    run.model = result.shrunk.model
    run.rounds.append(
        Round(
            rate=_budget(run, 1.0) / _cost(run, run.model),
            accuracy=result.accuracy,
            epochs=result.epochs,
            seconds=result.seconds,
            evaluations=result.evaluations,
        )
    )
    best = 0.0
    for entry in result.history:
        best = max(best, entry.score)
        run.history.append(SearchPoint(round=number, score=entry.score, best=best))
    run.say(
        f"round {number}: {format_rate(run.rounds[-1].rate)}, "
        f"{run.data.measure} {100 * result.accuracy:.2f} %, "
        f"{result.epochs:.2g} epochs, {result.evaluations} evaluations, {result.seconds:.0f} s"
    )


def _purify(run: Run) -> None:
    trainer = TorchTrainer(run.model, run.data.train, teacher=run.original, config=run.config.train)
    purified = purify(run.model, run.data, trainer, run.config.align)
    run.positions = compose(run.positions, purified.shrunk)
    run.model = purified.shrunk.model
    run.say(
        f"purification: {purified.removed_sets} coupled sets and {purified.removed_columns} "
        f"columns, {purified.evaluations} evaluations"
    )


def _fine_tune(run: Run) -> Model:
    """Fine-tune with distillation; a checkpoint after every pass."""
    config = run.config
    trainer = TorchTrainer(
        run.model, run.data.train, teacher=run.original, config=config.train, progress=run.progress
    )
    checkpoint = config.output / CHECKPOINTS / FINE_TUNE
    if config.resume is not None and checkpoint.is_file():
        trainer.load_state_dict(load_checkpoint(checkpoint))
    space = Space(dependency=analyse(run.model), weights=run.model.constants())
    left = None
    if run.stages.finish_by_s is not None:
        left = max(run.stages.finish_by_s - (time.perf_counter() - run.start), LEAST_SECONDS)
    trainer.fit(
        epochs=run.stages.finish,
        time_budget_s=left,
        masks=training_masks(space, Plan(), trainer.weights()),
        on_epoch=lambda _: save_checkpoint(checkpoint, trainer.state_dict()),
        description="fine-tune",
    )
    return trainer.model()


def _export(run: Run, trained: Model) -> Report:
    config, folder = run.config, run.config.output
    small, lowered = compact(trained, run.chooser, most_params=_most_params(run))
    plain = clone_model(trained)
    fuse_batchnorm(plain, run.inserted)
    dependency: DependencyGraph = _original_dependency(run)
    positions = adopt_biases(plain, dependency.model, run.positions)
    masked = expand(dependency.model, dependency, plain.constants(), positions)
    for model in (small, masked):
        retie_vectors(model, run.copies)
    law = check_law(small, masked)
    write_model(masked, folder / "masked.onnx")
    write_model(small, folder / "model.onnx")
    write_ort(folder / "model.onnx", folder / "model.ort")
    files = (_original_file(run), folder / "model.onnx")
    sides = measure_sides(config, *files, run.data.report)
    report = make_report(
        config, sides, law, dependency, measure=run.data.measure,
        changes=layer_changes(run.original, trained, lowered, files if config.timing else None),
        rounds=run.rounds, history=run.history,
        nodes=(len(run.original.graph.nodes), len(small.graph.nodes)),
        seconds=time.perf_counter() - run.start,
    )  # fmt: skip
    kept = {
        name: {str(axis): found.tolist() for axis, found in axes.items()}
        for name, axes in positions.items()
    }
    write_bytes(json.dumps({"kept": kept}, indent=1).encode(), folder / "plan.json")
    write_report(report, folder)
    if not law.passed:
        raise VerifyError(
            f"the law does not hold: relative error {law.max_rel_error:.1e}",
            location=Location(model=str(folder / "model.onnx")),
            hint="compare it with masked.onnx; do not deploy it",
        )
    return report


def _original_file(run: Run) -> Path:
    """Return the file to measure against; one from standard input is kept with the checkpoints."""
    if run.config.model != "-":
        return Path(run.config.model)
    kept = run.config.output / CHECKPOINTS / "original.onnx"
    write_model(run.original, kept)
    return kept


def _original_dependency(run: Run) -> DependencyGraph:
    untied = clone_model(run.original)
    untie_constants(untied)
    return analyse(untied)
