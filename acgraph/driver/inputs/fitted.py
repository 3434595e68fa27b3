"""Fit generated data to the BatchNormalization statistics of the network that it is made for."""

from collections.abc import Callable

import numpy as np

from acgraph.analysis.cost import model_cost
from acgraph.analysis.outputs import output_facts
from acgraph.backends.interface import TrainingBackend
from acgraph.data import ArrayDataset, Dataset
from acgraph.data.generated import GeneratedDataset
from acgraph.ir import Model, infer_facts, input_sizes
from acgraph.tasks import OutputTask, guess

#: Largest number of inputs that are fitted, and the smallest number that is worth it.
MOST, LEAST = 512, 64
#: Cost of fitting one input, in evaluations of the network: 40 steps forward and backward.
EVALUATIONS = 120
#: Multiply-accumulates that ``prune`` may spend on it, a few minutes.
PRUNE_MACS = 5e12


def fit_generated(
    data: Dataset,
    model: Model,
    backend: TrainingBackend,
    budget: Callable[[int], float],
    status: Callable[[str], None],
    seed: int = 0,
) -> Dataset:
    """Fit generated inputs to the BatchNormalization statistics of a network, where it has them.

    Args:
        data: The data; only generated data of a single float32 input is changed.
        model: The network, with known input sizes.
        backend: The training backend.
        budget: Returns the multiply-accumulates to spend, from those of one example.
        status: Callback for status lines.
        seed: Seed of all random numbers.

    Returns:
        The fitted inputs; the data itself where nothing is fitted.
    """
    is_fittable = isinstance(data, GeneratedDataset) and data.is_natural and backend.processes == 1
    if not is_fittable or not backend.has_statistics(model):
        return data
    macs = _example_macs(model)
    count = min(len(data), MOST, int(budget(macs) / (EVALUATIONS * max(macs, 1))))
    if count < min(LEAST, len(data)):
        status(
            "inputs: generated without regard to the BatchNormalization statistics, because "
            "fitting them would take too long"
        )
        return data
    status(f"inputs: {count} generated inputs are fitted to the BatchNormalization statistics")
    name = model.graph.inputs[0].name
    x = data.batch(np.arange(count, dtype=np.int64)).inputs[name]
    fitted = backend.fit_inputs(model, x, layout=data.layout, task=_classes(model), seed=seed)
    return ArrayDataset(fitted, layout=data.layout, name=data.name, input_name=name)


def _example_macs(model: Model) -> int:
    """Return the multiply-accumulates of one example."""
    batch = input_sizes(model).shapes[model.graph.inputs[0].name][0]
    return model_cost(model).macs // max(batch, 1)


def _classes(model: Model) -> OutputTask | None:
    """Return the task of the first output if it holds the scores of classes."""
    task = guess(output_facts(model, infer_facts(model)))[0]
    is_classes = task.kind == "classification" and len(task.shape) == 2 and task.form != "sigmoid"
    return task if is_classes else None
