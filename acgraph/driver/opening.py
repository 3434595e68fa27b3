"""Open and check the inputs of a run, and make the context of its stages."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from acgraph.backends.interface import Trainer, TrainingBackend
from acgraph.backends.ort.layer_timing import timing_chooser
from acgraph.backends.select import training_backend
from acgraph.config import CompressConfig
from acgraph.config_fields import AUTO
from acgraph.diagnostics import counted
from acgraph.driver.checkpoint.checkpoints import read_original
from acgraph.driver.evaluation.cluster import check_cluster
from acgraph.driver.evaluation.workers import check_workers
from acgraph.driver.inputs.bounds import requested_bounds
from acgraph.driver.inputs.data import RunData, open_data
from acgraph.driver.inputs.fitted import fit_generated
from acgraph.driver.inputs.outputs import keep_outputs
from acgraph.driver.inputs.reading import check_reading
from acgraph.driver.inputs.tasks import describe_tasks, with_tasks
from acgraph.driver.latency.alignment import SIZES, measure_align
from acgraph.driver.latency.chooser import make_chooser
from acgraph.driver.latency.runtime import run_settings
from acgraph.driver.network import Network
from acgraph.driver.passes import PassSettings
from acgraph.driver.schedule.budget import DeadlineChooser, fewer_examples, input_macs
from acgraph.driver.schedule.pace import image_seconds
from acgraph.driver.stages.target import check_metric
from acgraph.driver.state.context import Clock, Context, Reporter
from acgraph.driver.state.functions import NO_FUNCTIONS, UserFunctions
from acgraph.driver.state.state import State
from acgraph.driver.training.pool import TrainerPool
from acgraph.ir import Model, clone_model
from acgraph.lowering.base import Chooser
from acgraph.passes.untie_constants import untie_constants

log = logging.getLogger(__name__)

#: Share of a time budget after which no further layer is timed.
TIMING_UNTIL = 0.92


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a run.

    Attributes:
        original: The model.
        data: All examples.
        backend: The training backend.
        functions: Functions of the user: loss, score, importance.
    """

    original: Model
    data: RunData
    backend: TrainingBackend
    functions: UserFunctions = NO_FUNCTIONS


def open_inputs(
    config: CompressConfig,
    functions: UserFunctions | None = None,
    status: Callable[[str], None] = log.info,
) -> Inputs:
    """Read and check the inputs of a run, before anything is written.

    Args:
        config: The options.
        functions: Functions of the user, if there are any.
        status: Callback for status lines.

    Raises:
        AcgraphError: The model, the data or an option is wrong.
    """
    functions = functions or NO_FUNCTIONS
    functions.check(config)
    original = read_original(config)
    keep_outputs(original, config.outputs)
    original.bounds = requested_bounds(config, original)
    backend = training_backend(functions.loss, functions.evaluate)
    backend.check_operators(original)
    check_workers(config.search.workers, backend.processes)
    if config.search.cluster is not None:
        check_cluster(config.search.cluster)
    data = open_data(
        config,
        original,
        lambda train: fit_generated(
            train, original, backend, partial(input_macs, config), status, config.seed
        ),
    )
    check_metric(config, original)
    check_reading(original)  # at the sizes of the data
    data = replace(data, has_own_score=functions.evaluate is not None)
    return Inputs(original, with_tasks(config, original, data), backend, functions)


def open_context(
    config: CompressConfig,
    inputs: Inputs,
    reporter: Reporter,
    clock: Clock,
    passes: PassSettings | None = None,
) -> Context:
    """Evaluate the original, and make the context that the stages of a run share."""
    original, data, backend = inputs.original, inputs.data, inputs.backend
    for line in describe_tasks(data.tasks):
        reporter.status(line)
    trainers = TrainerPool(backend, original, reporter.progress, data.tasks)
    evaluator = trainers.get(original, None, config.train)
    if config.time_budget is not None:
        data = _within_time_budget(config, evaluator, data, reporter.status)
    network, untied = Network(original), clone_model(original)
    copies = untie_constants(untied)
    return Context(
        requested=config, config=_aligned(config, reporter.status), original=network,
        untied=Network(untied) if copies else network, copies=copies, data=data, backend=backend,
        trainers=trainers,
        chooser=_chooser(config, clock.begin), passes=passes or PassSettings(),
        reporter=reporter, clock=clock,
        functions=inputs.functions, baseline=_baseline(evaluator, data, reporter.status),
    )  # fmt: skip


def first_state(context: Context) -> State:
    """Return the state before the first stage."""
    return State(network=context.untied, prepared=context.untied)


def _baseline(evaluator: Trainer, data: RunData, status: Callable[[str], None]) -> float:
    """Evaluate the original on the selection split."""
    images = counted(len(data.select), "image")
    if data.measure == "agreement":
        status(
            "baseline: the data has no labels, so networks are scored by their agreement with the "
            f"original on {images}"
        )
        return 1.0
    baseline = evaluator.evaluate(data.select)
    status(f"baseline: {data.measure} {100 * baseline:.2f} % on {images}")
    return baseline


def _within_time_budget(
    config: CompressConfig, evaluator: Trainer, data: RunData, status: Callable[[str], None]
) -> RunData:
    """Reduce the evaluation examples to what the time budget allows, and report it."""
    image_s = image_seconds(evaluator, data.select, config.train.batch_size)
    less = fewer_examples(data, image_s, config.time_budget or 0.0)
    for name, before, after in (
        ("selection", data.select, less.select), ("report", data.report, less.report)
    ):  # fmt: skip
        if len(after) < len(before):
            status(
                f"{name} split: {len(after)} of {len(before)} examples are used, to keep within "
                "the time budget"
            )
    return less


def _chooser(config: CompressConfig, begin: float) -> Chooser:
    """Return a chooser by timing, which a time budget stops early enough for the last stages."""
    chooser = make_chooser(config.metric, timing=config.timing, settings=run_settings(config))
    if config.time_budget is None or not config.timing:
        return chooser
    untimed = make_chooser(config.metric, timing=False)
    return DeadlineChooser(chooser, untimed, begin + TIMING_UNTIL * config.time_budget)


def _aligned(config: CompressConfig, status: Callable[[str], None]) -> CompressConfig:
    """Replace ``align auto`` by the measured multiple."""
    if config.effective_align != AUTO:
        return config
    step = measure_align(timing_chooser(settings=run_settings(config)))
    status(
        f"align: filters are kept in multiples of {step}, chosen by timing layers of {SIZES[0]} "
        f"to {SIZES[-1]} filters on this machine"
    )
    return config.model_copy(update={"align": step})
