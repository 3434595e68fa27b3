"""Get a network ready for training: constants apart, folded BatchNormalization back."""

import logging

import numpy as np

from acgraph.data import Dataset
from acgraph.ir import Model, clone_model
from acgraph.passes.insert_batchnorm import insert_batchnorm, layers_without_batchnorm
from acgraph.passes.untie_constants import untie_constants

log = logging.getLogger(__name__)

#: Images that the statistics of a re-inserted BatchNormalization are measured on.
CALIBRATION_IMAGES = 1024
BATCH = 128


def ready_to_train(model: Model, train: Dataset) -> tuple[Model, list[str], dict[str, str]]:
    """Copy a model into the form that trains well.

    Constants that the exporter merged are made separate. A deep network without
    BatchNormalization does not retrain well, so each convolution with a bias and without one gets
    one, set so that the function is unchanged.

    Returns:
        The copy; the names of the BatchNormalization nodes that were put in; the copies of merged
        constants with the names that they had.
    """
    ready = clone_model(model)
    copies = untie_constants(ready)
    outputs = bare_convolutions(ready)
    if not outputs:
        return ready, [], copies
    # Late: this is the only use of torch here.
    from acgraph.backends.torch.batchnorm import channel_statistics
    from acgraph.backends.torch.graph_module import GraphModule

    count = min(len(train), CALIBRATION_IMAGES)
    order = np.linspace(0, len(train) - 1, count).astype(np.int64)
    batches = (train.batch(order[i : i + BATCH])[0] for i in range(0, count, BATCH))
    statistics = channel_statistics(GraphModule(ready), list(outputs.values()), batches)
    inserted = insert_batchnorm(ready, statistics, layers=list(outputs))
    log.info("put BatchNormalization back after %d convolutions", len(inserted))
    return ready, inserted, copies


def bare_convolutions(model: Model) -> dict[str, str]:
    """Name the convolutions that have a bias and no BatchNormalization, each with its output.

    None where the network still has any BatchNormalization: its author left the others bare.
    """
    if any(node.op == "BatchNormalization" for node in model.graph.nodes):
        return {}
    biased = {node.name for node in model.graph.nodes if len(node.inputs) > 2}
    return {k: v for k, v in layers_without_batchnorm(model).items() if k in biased}
