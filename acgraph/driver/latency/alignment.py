"""Learn of which number a host wants multiples of filters: what ``--align auto`` stands for.

Kernels compute channels in blocks. A layer of 17 filters takes as long as one of 20 where blocks
have 4, and as long as one of 24 where they have 8; one of 20 or 24 then wastes nothing. So a few
convolutions are timed whose sizes lie just above a multiple of 16, and compared with a straight
line between that multiple and the next: where all sizes of a step lie on it, channels cost the same
each, and larger steps win nothing.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from acgraph.lowering.base import Candidate
from acgraph.lowering.candidates import candidates
from acgraph.lowering.chooser import TimingChooser
from acgraph.lowering.layer import ConvLayer

#: Steps to choose from.
STEPS = (1, 2, 4, 8, 16)
#: Sizes between two multiples of the largest step, both of them included: one above the first for
#: each step. They are small, where a block that is not full weighs most.
SIZES = (16, 17, 18, 20, 24, 32)
#: Channels on the other side of each timed layer: no step makes a difference there.
OTHER_SIDE = 32
#: Kernel size, and height and width of the image, of each kind of layer that is timed.
KINDS = ((3, 16), (3, 8), (1, 16))
#: A size that costs less than this above the line is on it. Half-filled blocks of 2 cost 1 / 17.
TOLERANCE = 0.04


def measure_align(chooser: TimingChooser) -> int:
    """Time a few convolutions, or remember their times; return the step that is worth keeping.

    Args:
        chooser: Times layers as the compressed model is to be run, and remembers the times on disk
            by host, runtime and settings.

    Returns:
        The smallest of ``STEPS`` from which on the cost of a channel is flat.
    """
    found = [(kind, size) for kind in KINDS for size in SIZES]
    layers = [
        _dense(kernel, image, *channels)
        for (kernel, image), size in found
        for channels in ((OTHER_SIDE, size), (size, OTHER_SIDE))
    ]
    times = iter(chooser.latencies(layers))
    # A step counts for the filters of one layer and for the channels of the next alike.
    sums = {key: next(times) + next(times) for key in found}
    return useful_step([{size: sums[kind, size] for size in SIZES} for kind in KINDS])


def useful_step(times: Sequence[Mapping[int, float]]) -> int:
    """Return the smallest step from which on channels cost the same each.

    Args:
        times: For each kind of layer the time of each of ``SIZES``; the median over kinds counts.
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
    """A convolution as any layer's dense form; the numbers in it do not matter to its time."""
    weight = np.random.default_rng(0).standard_normal((filters, channels, kernel, kernel))
    return candidates(ConvLayer.alone(weight.astype(np.float32), image))[0]
