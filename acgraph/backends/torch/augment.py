"""Random crop, flip and erasing for whole batches, without a loop over images."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from acgraph.backends.training import TrainConfig
from acgraph.tasks import OutputTask

Images = npt.NDArray[np.float32]
Rng = np.random.Generator
#: Side of an erased square, as a share of the image's shorter side.
ERASE_SIDES = (0.25, 0.5)


def with_flip(config: TrainConfig, tasks: Sequence[OutputTask]) -> TrainConfig:
    """Decide whether images are mirrored, if that is left open: mirrored text is not text."""
    if config.flip != "auto":
        return config
    return replace(config, flip=not any(task.kind == "ctc" for task in tasks))


def augment(x: Images, config: TrainConfig, rng: Rng) -> Images:
    """Augment normalised images ``float32 [n, C, H, W]`` as configured; return a new array."""
    if config.crop:
        x = shift(x, config.crop, config.crop_fill, rng)
    if config.flip:
        x = flip(x, rng)
    if config.erase:
        x = erase(x, config.erase, rng)
    return x


def shift(x: Images, pixels: int, fill: str, rng: Rng) -> Images:
    """Pad each image by ``pixels`` on all sides and crop it to its old size at a random place."""
    n, _, height, width = x.shape
    margins = ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels))
    reflects = fill == "reflect" and pixels < min(height, width)
    padded = np.pad(x, margins, mode="reflect") if reflects else np.pad(x, margins)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    top, left = rng.integers(0, 2 * pixels + 1, (2, n))
    cut: Images = windows[np.arange(n), :, top, left]
    return cut


def flip(x: Images, rng: Rng) -> Images:
    """Mirror each image left to right with probability one half."""
    chosen = rng.random(len(x)) < 0.5
    out = x.copy()
    out[chosen] = x[chosen, :, :, ::-1]
    return out


def erase(x: Images, share: float, rng: Rng) -> Images:
    """Set a random square to zero, which is the mean pixel, in a share of the images.

    This is random erasing (Zhong et al., arXiv 1708.04896). The side of the square is 1/4 to 1/2 of
    the image's shorter side.
    """
    n, _, height, width = x.shape
    shorter = min(height, width)
    low, high = (max(1, round(side * shorter)) for side in ERASE_SIDES)
    side = rng.integers(low, high + 1, n)
    rows = _spans(rng, side, height)
    columns = _spans(rng, side, width)
    chosen = np.less(rng.random(n), share)
    hole = rows[:, None, :, None] & columns[:, None, None, :] & chosen[:, None, None, None]
    return np.where(hole, np.float32(0), x)


def _spans(rng: Rng, side: npt.NDArray[Any], size: int) -> npt.NDArray[np.bool_]:
    start = (rng.random(len(side)) * (size - side + 1)).astype(np.int64)
    position = np.arange(size)
    is_after = position >= start[:, None]
    is_before = position < (start + side)[:, None]
    span: npt.NDArray[np.bool_] = np.logical_and(is_after, is_before)
    return span
