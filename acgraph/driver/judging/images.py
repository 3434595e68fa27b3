"""By how many images the points of a search are judged: all, or few first and all for the best.

What may be spent is counted in multiply-accumulates, which is the same on every host, so that a
search without a time budget gives the same result everywhere; a time budget bounds it by time, too,
and so does the longest time of any search, see ``acgraph.driver.stages.round_search``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from acgraph.analysis.cost import model_cost
from acgraph.backends.interface import Trainer
from acgraph.config import CompressConfig
from acgraph.data import first_example
from acgraph.driver.inputs.data import RunData
from acgraph.driver.judging.proxy import Proxy
from acgraph.driver.space.space import Space
from acgraph.ir import Model
from acgraph.search.halving import Level, plan_levels

#: Images that one evaluation of a search uses.
PROXY_IMAGES = 1000
#: The most that the evaluations of one search take: about six minutes on two cores.
MAX_MACS = 12e12
#: The most that measuring what layers read takes, likewise.
MAX_MEASURING_MACS = 2e12
#: The fewest images that a point is judged by, and that BatchNormalization is recalibrated on.
MIN_IMAGES = 16
#: Images larger than these pixels count as several where BatchNormalization is recalibrated, down
#: to so many images.
PIXELS = 32 * 32
RECALIBRATION_IMAGES = 128
#: Share of the images of a reduced evaluation on which BatchNormalization is recalibrated, at most.
RECALIBRATION_PART = 0.4


@dataclass(frozen=True, slots=True)
class Images:
    """What one evaluation reads.

    Attributes:
        select: Images to judge by.
        train: Images that BatchNormalization is recalibrated on.
    """

    select: int
    train: int

    def shared(self, share: float) -> "Images":
        """Return a share of them.

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
    """Return what an evaluation reads where nothing is spared.

    BatchNormalization needs fewer images where these are large: its channels see more of each.
    """
    recalibration = config.search.recalibrate * config.train.batch_size
    example = first_example(data.train).x
    enough = PIXELS * recalibration // math.prod(example.shape[2:]) if example.ndim == 4 else 0
    recalibration = min(recalibration, max(enough, RECALIBRATION_IMAGES))
    return Images(min(len(data.select), PROXY_IMAGES), min(len(data.train), recalibration))


def levels_of(
    model: Model,
    images: Images,
    evaluations: int,
    *,
    left_s: float | None = None,
    evaluation_s: float | None = None,
) -> tuple[Level, ...]:
    """Plan the levels of a search.

    Args:
        model: The network.
        images: What a whole evaluation reads.
        evaluations: Of the search.
        left_s: Seconds that it may take; None for no limit.
        evaluation_s: Seconds of a whole evaluation, where they were measured.
    """
    affordable = affordable_evaluations(model, images)
    if left_s is not None and evaluation_s:
        affordable = min(affordable, left_s / evaluation_s)
    return plan_levels(evaluations, affordable)


def affordable_evaluations(model: Model, images: Images) -> float:
    """Return how many whole evaluations of a network one search may take."""
    return MAX_MACS / max(model_cost(model).macs * (images.select + images.train), 1)


def measured_images(model: Model, most: int) -> int:
    """Return how many images what layers read is measured on, at most ``most``."""
    return int(min(most, max(MIN_IMAGES, MAX_MEASURING_MACS / max(model_cost(model).macs, 1))))


def proxies(
    config: CompressConfig,
    trainer: Trainer,
    space: Space,
    data: RunData,
    whole: Images,
    levels: Sequence[Level],
) -> list[tuple[int, Proxy]]:
    """Make a judge for each level: how many points it may judge, and how."""
    found = []
    for level in levels:
        images = whole.shared(level.share)
        judge = Proxy(
            trainer, space, data.select, limit=images.select,
            batches=config.search.recalibrate, images=images.train,
        )  # fmt: skip
        found.append((level.count, judge))
    return found
