"""Measure which multiple of filters runs fastest on a host, for ``--align auto``.

Kernels compute channels in blocks. With blocks of 4, a layer with 17 filters takes as long as one
with 20; with blocks of 8, as long as one with 24. So a few convolutions are timed whose sizes are
just above a multiple of 16, and compared with a straight line between that multiple and the next.
If all sizes that are multiples of a step lie on the line, every channel costs the same, and larger
steps gain nothing.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from acgraph.lowering.base import Candidate
from acgraph.lowering.candidates import candidates
from acgraph.lowering.chooser import TimingChooser
from acgraph.lowering.layer import ConvLayer

#: Steps to choose from.
STEPS = (1, 2, 4, 8, 16)
#: Numbers of filters from a multiple of the largest step to the next: one more than the first
#: multiple for each step. They are small, because a partly filled block matters most there.
SIZES = (16, 17, 18, 20, 24, 32)
#: Channels on the other axis of each timed layer: a multiple of all steps.
OTHER_SIDE = 32
#: Kernel size and image size (height = width) of each kind of layer that is timed.
KINDS = ((3, 16), (3, 8), (1, 16))
#: Relative excess over the line that is ignored. Half-filled blocks of 2 would cost 1 / 17.
TOLERANCE = 0.04


def measure_align(chooser: TimingChooser) -> int:
    """Time a few convolutions, or read their times from the cache, and return the best multiple.

    Args:
        chooser: Times layers as the compressed model will be run, and caches the times on disk by
            host, runtime and settings.

    Returns:
        The smallest of ``STEPS`` from which on every channel costs the same.
    """
    found = [(kind, size) for kind in KINDS for size in SIZES]
    layers = [
        _dense(kernel, image, *channels)
        for (kernel, image), size in found
        for channels in ((OTHER_SIDE, size), (size, OTHER_SIDE))
    ]
    times = iter(chooser.latencies(layers))
    # The multiple applies to the filters of one layer and to the input channels of the next.
    sums = {key: next(times) + next(times) for key in found}
    return useful_step([{size: sums[kind, size] for size in SIZES} for kind in KINDS])


def useful_step(times: Sequence[Mapping[int, float]]) -> int:
    """Return the smallest step from which on every channel costs the same.

    Args:
        times: For each kind of layer, the time of each of ``SIZES``; the median over kinds is used.
    """
    low, high = SIZES[0], SIZES[-1]
    step = high - low
    for smaller in reversed(STEPS[:-1]):
        size = low + smaller
        above = [
            kind[size] / float(np.interp(size, (low, high), (kind[low], kind[high]))) - 1
            for kind in times
        ]
        if np.median(above) > TOLERANCE:
            return step
        step = smaller
    return step


def _dense(kernel: int, image: int, channels: int, filters: int) -> Candidate:
    """Return a convolution as a dense form; its time does not depend on its weight values."""
    weight = np.random.default_rng(0).standard_normal((filters, channels, kernel, kernel))
    return candidates(ConvLayer.alone(weight.astype(np.float32), image))[0]
