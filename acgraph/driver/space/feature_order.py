"""Put the features of attention heads in order of importance before a network is cut."""

import logging

import numpy as np

from acgraph.analysis.attention import free_bases
from acgraph.analysis.dependency import DependencyGraph
from acgraph.backends.interface import Trainer
from acgraph.data import Dataset, Subset, cut_indices
from acgraph.driver.inputs.time_limit import within_time
from acgraph.driver.space.head_bases import change_bases, layers_to_measure
from acgraph.driver.space.reconstruction import BATCH, reconstructible_layers
from acgraph.ir import Array

log = logging.getLogger(__name__)

#: Largest number of examples that the features are measured on.
EXAMPLES = 512
#: Batch size with a time limit, which is checked after each batch.
SMALL_BATCH = 32
#: Number of examples on which the metric is compared, and the number of them that may change. The
#: change of basis alters the outputs by rounding errors only, which a few examples show.
JUDGED, CHANGED = 32, 1


def order_features(
    dependency: DependencyGraph,
    trainer: Trainer,
    data: Dataset,
    *,
    seed: int = 0,
    examples: int = EXAMPLES,
    seconds: float | None = None,
) -> dict[str, Array]:
    """Measure the features of attention heads, and put them in order in the trainer's weights.

    Args:
        dependency: The dependency graph.
        trainer: Holds the graph with its current weights.
        data: Examples, of which a part is used.
        seed: Seed of the sampled positions.
        examples: Largest number of examples to measure on.
        seconds: Seconds after which no further batch is measured; None for no limit.

    Returns:
        The weights that changed.
    """
    bases = free_bases(dependency.model, dependency.facts)
    if not bases.scores and not bases.values:
        return {}
    order = np.random.default_rng(seed).permutation(len(data))[:examples].astype(np.int64)
    batch = min(BATCH if seconds is None else SMALL_BATCH, trainer.images_at_once(data))
    can_measure = {layer.weight for layer in reconstructible_layers(dependency.model)}
    grams = trainer.input_grams(
        [layer for layer in layers_to_measure(bases) if layer.weight in can_measure],
        within_time(map(data.batch, cut_indices(data, order, batch)), seconds),
        seed=seed,
    )
    finite = {name: gram for name, gram in grams.items() if gram.is_finite}
    before = {**dependency.model.constants(), **trainer.weights()}
    changed = change_bases(bases, before, finite)
    judged = Subset(data, order[:JUDGED])
    expected = trainer.evaluate(judged)
    trainer.load_weights(changed)
    found = trainer.evaluate(judged)
    if abs(found - expected) <= CHANGED / len(judged) * abs(expected):
        return changed
    trainer.load_weights({name: before[name] for name in changed})
    log.warning(
        "the features of attention heads keep their basis: in another one, rounding changes the "
        "metric from %.4g to %.4g", expected, found,
    )  # fmt: skip
    return {}
