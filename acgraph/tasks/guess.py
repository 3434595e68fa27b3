"""Guess the task of each output from the graph, its name, its values and the labels."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from acgraph.tasks import heads, rules
from acgraph.tasks.evidence import OutputEvidence
from acgraph.tasks.facts import ModelFacts, OutputFacts
from acgraph.tasks.kinds import Array, Kind, OutputTask, as_stated, check_outputs, stated_for
from acgraph.tasks.scores import are_probabilities, are_unit

#: Smallest number of examples from which the statistics of an output are used.
MIN_EXAMPLES = 16
#: An output holds coordinates if the variance of its channels' means exceeds the mean variance of
#: its channels by this factor.
_COORDINATES_RATIO = 4.0


Rule = Callable[[OutputEvidence], OutputTask | None]


def guess(
    model: ModelFacts,
    *,
    values: Sequence[Array] | None = None,
    labels: Array | None = None,
    stated: Mapping[str, Kind] | None = None,
) -> tuple[OutputTask, ...]:
    """Guess the task of each output; it is ``imitate`` if no rule applies.

    Args:
        model: Facts about the outputs, from the graph.
        values: The outputs of the original for some real examples, in the order of the graph.
        labels: The labels of some examples; they belong to the first output.
        stated: Tasks that the user set, by output; the empty name stands for all outputs.

    Returns:
        One task for each output, in the order of the graph.

    Raises:
        UsageError: A task is set for an output that does not exist.
    """
    check_outputs(stated or {}, [facts.name for facts in model.outputs])
    detector = heads.detector_parts(model)
    found = []
    for index, facts in enumerate(model.outputs):
        output = OutputEvidence(
            facts, model, None if values is None else values[index], None if index else labels
        )
        task = (
            heads.as_part(output, detector)
            or heads.per_box_value(output, detector)
            or _first_match(output)
        )
        kind = stated_for(task, stated or {})
        found.append(task if kind is None else _as_stated(output, task, kind, detector))
    return tuple(found)


def _as_stated(
    output: OutputEvidence, task: OutputTask, kind: Kind, detector: Mapping[str, heads.DetectorPart]
) -> OutputTask:
    if kind == task.kind:
        return as_stated(task, kind)
    if kind == "detection":
        return heads.stated_part(output, detector)
    if kind == "ctc":
        return rules.stated_sequence(output)
    return as_stated(output.task(kind, ""), kind)


def _first_match(output: OutputEvidence) -> OutputTask:
    for rule in RULES:
        found = rule(output)
        if found is not None:
            return found
    return output.task("imitate", "nothing indicates another task", is_sure=False)


def _not_float(output: OutputEvidence) -> OutputTask | None:
    return None if output.facts.is_float else output.task("imitate", "its values are not floats")


def _recurrent_state(output: OutputEvidence) -> OutputTask | None:
    if not output.facts.state_of:
        return None
    return output.task("imitate", f"it is the next state for input {output.facts.state_of}")


def _unit_vectors(output: OutputEvidence) -> OutputTask | None:
    axis = output.facts.channel_axis
    if output.facts.is_unit:
        return output.task("embedding", "its vectors are normalised to length 1")
    values = output.values
    if values is None or values.ndim < 2 or not are_unit(values, -1 if axis is None else axis):
        return None
    return output.task("embedding", "its vectors have length 1")


def _coordinates(output: OutputEvidence) -> OutputTask | None:
    """Recognise coordinates: each varies less over the examples than they differ on average."""
    values = output.values
    if values is None or values.ndim != 2 or len(values) < MIN_EXAMPLES or values.shape[1] < 2:
        return None
    if output.facts.form != "logits" or are_probabilities(values, 1):
        return None
    numbers = np.asarray(values, np.float64)
    if not np.isfinite(numbers).all():
        return None
    within = float(np.mean(numbers.var(axis=0)))
    if float(numbers.mean(axis=0).var()) <= _COORDINATES_RATIO * within:
        return None
    return output.task(
        "regression", "each of its numbers varies little from one example to the next"
    )


RULES: tuple[Rule, ...] = (
    _not_float,
    _recurrent_state,
    rules.by_labels,
    rules.sequence,
    _unit_vectors,
    rules.named,
    rules.probability,
    rules.label_map,
    rules.vector_next_to_classes,
    _coordinates,
    rules.embedding,
    rules.classes,
    rules.single_number,
)


def guess_by_values(values: Sequence[Array]) -> tuple[OutputTask, ...]:
    """Guess the task of each output from its values alone.

    If no rule applies to the first output and its shape is ``[N, classes]``, it holds class scores.

    Args:
        values: The outputs for some examples, in the order of the graph.
    """
    outputs = [
        OutputFacts(
            name=f"output {index}", shape=each.shape, is_float=each.dtype.kind == "f",
            form="softmax" if each.ndim == 2 and are_probabilities(each, 1) else "logits",
            channel_axis=1 if each.ndim in (2, 4) else None,
        )
        for index, each in enumerate(values)
    ]  # fmt: skip
    model = ModelFacts(outputs=outputs, inputs={})
    found = []
    for index, facts in enumerate(outputs):
        output = OutputEvidence(facts, model, values[index], None)
        task = (
            heads.by_values(output)
            or _not_float(output)
            or _unit_vectors(output)
            or _coordinates(output)
        )
        if task is None and index == 0 and len(output.shape) == 2 and (output.columns or 0) > 1:
            task = output.task("classification", "it holds a number for each class")
        found.append(task or output.task("imitate", "nothing indicates another task"))
    return tuple(found)
