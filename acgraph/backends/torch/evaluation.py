"""Evaluate a network on data."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.losses import Outputs
from acgraph.backends.torch.teacher import Teacher
from acgraph.backends.training import Array, Evaluate, score_of
from acgraph.data import Dataset, are_class_numbers, iterate_batches
from acgraph.diagnostics import Location
from acgraph.errors import BackendError
from acgraph.tasks import Agreement, Correctness, OutputTask


@torch.no_grad()
def evaluate(
    run: Callable[[Inputs], Outputs],
    data: Dataset,
    *,
    input_names: Sequence[str],
    device: torch.device,
    batch_size: int,
    limit: int | None = None,
    teacher: Teacher | None = None,
    metric: Evaluate | None = None,
    tasks: Sequence[OutputTask] | None = None,
) -> float:
    """Return a metric averaged over images.

    It is the custom metric if there is one, otherwise the metric of the task on the labels (for a
    classifier, the accuracy), otherwise the agreement with the teacher.

    Args:
        run: Runs the network.
        data: The examples.
        input_names: Names of the network's inputs, in graph order.
        device: Device of the network.
        batch_size: Examples per run.
        limit: Largest number of examples, evenly spaced; None for all.
        teacher: The teacher, for data without labels.
        metric: A custom metric.
        tasks: Task of each output; None guesses it.

    Raises:
        BackendError: There are neither labels, a teacher nor a metric, or there are no images.
    """
    if metric is None and data.labels is None and teacher is None:
        raise BackendError(
            "neither labels nor a teacher to compare with",
            location=Location(model=data.name),
            hint="give labels, or the original model as the teacher",
        )
    total, count = 0.0, 0
    agreed = Agreement(tasks)
    right = _correctness(data, tasks) if metric is None else None
    for number, batch in enumerate(iterate_batches(data, batch_size, limit)):
        x, y = Inputs.of(batch, input_names, device), batch.labels
        outputs = run(x)
        count += len(batch)
        if metric is not None:
            total += score_of(metric, _arrays(outputs), y) * len(batch)
        elif y is not None and right is not None:
            right.add(_arrays(outputs), y)
        elif y is not None:
            total += int(np.count_nonzero(outputs[0].argmax(1).cpu().numpy() == y))
        elif teacher is not None:
            agreed.add(
                _arrays(outputs), _arrays(teacher.evaluation_outputs(data, limit, number, x))
            )
    if count == 0:
        raise BackendError("there are no examples to evaluate", location=Location(model=data.name))
    if metric is None and data.labels is None:
        return agreed.value
    return total / count if right is None else right.value


def _correctness(data: Dataset, tasks: Sequence[OutputTask] | None) -> Correctness | None:
    """Return the metric of the task on labels; None if the labels are one class per example."""
    if data.labels is None or not tasks or are_class_numbers(data.labels):
        return None
    return Correctness(tasks)


def _arrays(outputs: Outputs) -> tuple[Array, ...]:
    return tuple(output.cpu().numpy() for output in outputs)
