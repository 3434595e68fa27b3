"""Number of images on which points of a search are evaluated: all, or few first and then more.

The budget is counted in multiply-accumulates, which are the same on every host, so that a search
without a time budget gives the same result everywhere. A time budget is a second limit, and so is
the longest time of any search, see ``acgraph.driver.stages.round_search``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from acgraph.analysis.cost import model_cost
from acgraph.backends.interface import Trainer
from acgraph.config import CompressConfig
from acgraph.data import first_example
from acgraph.driver.evaluation.proxy import Proxy
from acgraph.driver.inputs.data import RunData
from acgraph.driver.space.space import Space
from acgraph.ir import Model
from acgraph.search.halving import Level, plan_levels

#: Images that one evaluation of a search uses.
PROXY_IMAGES = 1000
#: Limit of MACs for all evaluations of one search: about six minutes on two cores.
MAX_MACS = 12e12
#: Within this limit, a search may take this multiple of the MACs of the training, but at least the
#: second number: a short trial run should not search for minutes and train for seconds.
SEARCH_TO_TRAINING, MIN_MACS = 3.0, 1e12
#: MACs of a training step relative to inference: one forward and two backward computations.
TRAINING_COST = 3.0
#: Smallest number of points of a search, even if they exceed its limit of MACs.
MIN_POINTS = 16
#: Limit of MACs for measuring the inputs of layers.
MAX_MEASURING_MACS = 2e12
#: Smallest number of images to evaluate a point on, and to recalibrate BatchNormalization on.
MIN_IMAGES = 16
#: An image with more pixels than this counts as several when BatchNormalization is recalibrated,
#: but at least this many images are used.
PIXELS = 32 * 32
RECALIBRATION_IMAGES = 128
#: Largest share of a reduced evaluation's images on which BatchNormalization is recalibrated.
RECALIBRATION_PART = 0.4


@dataclass(frozen=True, slots=True)
class Images:
    """Numbers of images that one evaluation uses.

    Attributes:
        select: Images to evaluate on.
        train: Training images to recalibrate BatchNormalization on.
    """

    select: int
    train: int

    def shared(self, share: float) -> "Images":
        """Return a share of these numbers.

        BatchNormalization gets the smaller part: its channels see many positions of each image.
        """
        if share >= 1.0:
            return self
        count = share * (self.select + self.train)
        part = min(self.train, max(RECALIBRATION_PART * count, MIN_IMAGES))
        train = math.ceil(part) if self.train else 0
        select = min(self.select, max(math.ceil(count - train), MIN_IMAGES))
        return Images(select, train)


def whole_images(config: CompressConfig, data: RunData) -> Images:
    """Return the numbers of images of a full evaluation.

    BatchNormalization needs fewer large images, as each has more positions per channel.
    """
    recalibration = config.search.recalibrate * config.train.batch_size
    example = first_example(data.train).x
    enough = PIXELS * recalibration // math.prod(example.shape[2:]) if example.ndim == 4 else 0
    recalibration = min(recalibration, max(enough, RECALIBRATION_IMAGES))
    return Images(min(len(data.select), PROXY_IMAGES), min(len(data.train), recalibration))


def levels_of(
    images: Images,
    evaluations: int,
    *,
    affordable: float,
    fewest: int = MIN_POINTS,
) -> tuple[Level, ...]:
    """Plan the levels of evaluation of a search, see ``acgraph.search.halving``.

    Args:
        images: Numbers of images of a full evaluation.
        evaluations: Largest number of points of the search.
        affordable: The budget in full evaluations.
        fewest: Smallest number of points, even if they exceed the budget.
    """
    levels = plan_levels(evaluations, affordable)
    first, *later = levels
    if not later:
        return levels
    left = affordable - sum(level.count * _part(images, level) for level in later)
    count = max(int(left / _part(images, first)), min(fewest, first.count))
    return (replace(first, count=min(first.count, count)), *later)


def _part(images: Images, level: Level) -> float:
    """Return the cost of evaluating a point at a level, as a share of a full evaluation."""
    few = images.shared(level.share)
    return (few.select + few.train) / max(images.select + images.train, 1)


def affordable_evaluations(model: Model, images: Images, trained_images: float) -> float:
    """Return the budget of one search, in full evaluations of a network.

    Args:
        model: The network.
        images: Numbers of images of a full evaluation.
        trained_images: Number of images that the run trains on, summed over all passes.
    """
    macs = max(model_cost(model).macs, 1)
    training = macs * TRAINING_COST * trained_images
    budget = min(MAX_MACS, max(MIN_MACS, SEARCH_TO_TRAINING * training))
    return budget / (macs * max(images.select + images.train, 1))


def measured_images(model: Model, most: int) -> int:
    """Return the number of images on which the inputs of layers are measured, at most ``most``."""
    return int(min(most, max(MIN_IMAGES, MAX_MEASURING_MACS / max(model_cost(model).macs, 1))))


def proxies(
    config: CompressConfig,
    trainer: Trainer,
    space: Space,
    data: RunData,
    whole: Images,
    levels: Sequence[Level],
) -> list[tuple[int, Proxy]]:
    """Return for each level the number of points to evaluate, and the proxy that scores them."""
    found = []
    for level in levels:
        images = whole.shared(level.share)
        proxy = Proxy(
            trainer, space, data.select, limit=images.select,
            batches=config.search.recalibrate, images=images.train,
        )  # fmt: skip
        found.append((level.count, proxy))
    return found
