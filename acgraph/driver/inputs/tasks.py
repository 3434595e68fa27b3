"""Detect the task of each output before a run, and report it in the first lines."""

from collections.abc import Sequence
from dataclasses import replace

from acgraph.analysis.outputs import output_facts
from acgraph.backends.ort.accuracy import concatenated_outputs
from acgraph.backends.ort.session import Session
from acgraph.config import CompressConfig
from acgraph.data import Array
from acgraph.data.generated import is_generated_spec
from acgraph.diagnostics import Location, listed
from acgraph.driver.inputs.data import RunData
from acgraph.ir import Model, infer_facts
from acgraph.tasks import OutputTask, check_fit, guess

#: Examples that the original is run on if graph and labels leave the task of an output open.
EXAMPLES = 64


def with_tasks(config: CompressConfig, model: Model, data: RunData) -> RunData:
    """Return the data of a run together with the task of each output of the network.

    If graph and labels leave a task open, the original is run on some examples: coordinates and
    vectors of length 1 are recognised by their values.

    Raises:
        UsageError: A task is stated for an output that does not exist.
        BackendError: ONNX Runtime cannot run the model.
    """
    facts = output_facts(model, infer_facts(model))
    tasks = guess(facts, labels=_labels(data), stated=config.task)
    is_open = any(not task.is_sure and task.output not in config.task for task in tasks)
    if is_open and "" not in config.task and not is_generated_spec(config.data):
        # Without removed outputs, the file itself is opened, so that it need not be copied.
        session = Session(model if config.outputs else config.model, sizes=model.sizes)
        values = concatenated_outputs(session, data.select, limit=EXAMPLES)
        tasks = guess(facts, values=values, labels=_labels(data), stated=config.task)
    _check_labels(tasks, data)
    return replace(data, tasks=tasks)


def _check_labels(tasks: Sequence[OutputTask], data: RunData) -> None:
    """Check labels against the first output.

    Raises:
        DataError: They do not fit.
    """
    for part in (data.train, data.report):
        if part.labels is not None:
            check_fit(tasks, part.labels[:EXAMPLES], Location(model=part.name.partition("#")[0]))


def _labels(data: RunData) -> Array | None:
    labels = data.report.labels
    return None if labels is None else labels[:EXAMPLES]


def describe_tasks(tasks: Sequence[OutputTask]) -> list[str]:
    """Describe the task of each output; outputs with the same task share a line.

    Returns:
        Sentences; the first one says how to change a task.
    """
    lines: list[str] = []
    shown: dict[tuple[str, str], list[OutputTask]] = {}
    for task in tasks:
        shown.setdefault((task.kind, task.reason), []).append(task)
    for alike in shown.values():
        first = alike[0]
        names = listed([task.described for task in alike], 1)
        verb = "are" if len(alike) > 1 else "is"
        what = "imitated" if first.kind == "imitate" else f"treated as {first.kind}"
        lines.append(f"output {names} {verb} {what} ({first.reason})")
    if not any(task.reason == "as stated" for task in tasks):
        lines[0] += "; use --task to change this"
    return lines
