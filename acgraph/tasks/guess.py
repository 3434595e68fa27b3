"""What outputs mean, by what speaks for it in graph, names, values and labels."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from acgraph.tasks import heads, shapes
from acgraph.tasks.facts import ModelFacts, OutputFacts
from acgraph.tasks.kinds import Array, Kind, OutputTask, as_stated, check_outputs, stated_for
from acgraph.tasks.scores import are_shares, are_unit
from acgraph.tasks.seen import Seen

#: Values of an output speak where there are so many examples.
MIN_EXAMPLES = 16
#: Outputs whose channels have means so much further apart than each of them varies are coordinates.
_FIXED_PROFILE = 4.0


Rule = Callable[[Seen], OutputTask | None]


def guess(
    model: ModelFacts,
    *,
    values: Sequence[Array] | None = None,
    labels: Array | None = None,
    stated: Mapping[str, Kind] | None = None,
) -> tuple[OutputTask, ...]:
    """Guess what each output means; where nothing speaks for a task, it is imitated.

    Args:
        model: What the graph says.
        values: The outputs of the original for some real examples, in the order of the graph.
        labels: The labels of some examples, which are of the first output.
        stated: What the user states, by output; under the empty name for all.

    Raises:
        UsageError: a task is stated for an output that there is not.
    """
    check_outputs(stated or {}, [facts.name for facts in model.outputs])
    detector = heads.detector_parts(model)
    found = []
    for place, facts in enumerate(model.outputs):
        seen = Seen(
            facts, model, None if values is None else values[place], None if place else labels
        )
        task = heads.as_part(seen, detector) or heads.beside(seen, detector) or _first(seen)
        kind = stated_for(task, stated or {})
        found.append(task if kind is None else _as_stated(seen, task, kind, detector))
    return tuple(found)


def _as_stated(
    seen: Seen, task: OutputTask, kind: Kind, detector: Mapping[str, heads.Place]
) -> OutputTask:
    if kind == task.kind:
        return as_stated(task, kind)
    if kind == "detection":
        return heads.stated_part(seen, detector)
    if kind == "ctc":
        return shapes.stated_sequence(seen)
    return as_stated(seen.task(kind, ""), kind)


def _first(seen: Seen) -> OutputTask:
    for rule in RULES:
        found = rule(seen)
        if found is not None:
            return found
    return seen.task("imitate", "nothing indicates another task", is_sure=False)


def _no_floats(seen: Seen) -> OutputTask | None:
    return None if seen.facts.is_float else seen.task("imitate", "its values are not floats")


def _state(seen: Seen) -> OutputTask | None:
    if not seen.facts.state_of:
        return None
    return seen.task("imitate", f"it is the next state for input {seen.facts.state_of}")


def _unit(seen: Seen) -> OutputTask | None:
    axis = seen.facts.channel_axis
    if seen.facts.is_unit:
        return seen.task("embedding", "its vectors are normalised to length 1")
    values = seen.values
    if values is None or values.ndim < 2 or not are_unit(values, -1 if axis is None else axis):
        return None
    return seen.task("embedding", "its vectors have length 1")


def _profile(seen: Seen) -> OutputTask | None:
    """Coordinates keep their places, whatever the example; scores and embeddings do not."""
    values = seen.values
    if values is None or values.ndim != 2 or len(values) < MIN_EXAMPLES or values.shape[1] < 2:
        return None
    if seen.facts.form != "logits" or are_shares(values, 1):
        return None
    numbers = np.asarray(values, np.float64)
    if not np.isfinite(numbers).all():
        return None
    within = float(np.mean(numbers.var(axis=0)))
    if float(numbers.mean(axis=0).var()) <= _FIXED_PROFILE * within:
        return None
    return seen.task("regression", "each of its numbers varies little from one example to the next")


RULES: tuple[Rule, ...] = (
    _no_floats,
    _state,
    shapes.by_labels,
    shapes.sequence,
    _unit,
    shapes.named,
    shapes.probability,
    shapes.label_map,
    shapes.beside_classes,
    _profile,
    shapes.embedding,
    shapes.classes,
    shapes.number,
)


def guess_by_values(values: Sequence[Array]) -> tuple[OutputTask, ...]:
    """Guess by what a network makes of some examples alone; a first ``[N, classes]`` is scores.

    Args:
        values: The outputs, in the order of the graph.
    """
    outputs = [
        OutputFacts(
            name=f"output {place}", shape=each.shape, is_float=each.dtype.kind == "f",
            form="softmax" if each.ndim == 2 and are_shares(each, 1) else "logits",
            channel_axis=1 if each.ndim in (2, 4) else None,
        )
        for place, each in enumerate(values)
    ]  # fmt: skip
    model = ModelFacts(outputs=outputs, inputs={})
    found = []
    for place, facts in enumerate(outputs):
        seen = Seen(facts, model, values[place], None)
        task = heads.by_values(seen) or _no_floats(seen) or _unit(seen) or _profile(seen)
        if task is None and place == 0 and len(seen.shape) == 2 and (seen.columns or 0) > 1:
            task = seen.task("classification", "it holds a number for each class")
        found.append(task or seen.task("imitate", "nothing indicates another task"))
    return tuple(found)
