"""Synthetic images by the dead leaves model, and noise with the spectrum of natural signals.

In the dead leaves model (Matheron 1968; Lee, Mumford and Huang, IJCV 2001), random shapes, the
leaves, cover each other. If their radii follow a power law of exponent 3, the statistics of edges
and sizes are those of photographs at all scales. Networks can be trained on such images (Baradad
et al., NeurIPS 2021).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.floating[Any]]

#: Smallest and largest number of leaves of an image, without the background.
MIN_LEAVES, MAX_LEAVES = 6, 80
#: Radii, as shares of the longer side.
MIN_RADIUS, MAX_RADIUS = 0.02, 0.7
#: Approximate correlation of colour channels in photographs.
CORRELATION = 0.9
#: Standard deviations: of the mean of an image; of the colours of its leaves, smallest and largest;
#: of the shading across a leaf; of its texture. Together they are about 1.
MEAN, MIN_CONTRAST, MAX_CONTRAST, SHADING, TEXTURE = 0.6, 0.3, 1.2, 0.35, 0.2


def dead_leaves(rng: np.random.Generator, channels: int, height: int, width: int) -> Floats:
    """Generate an image ``float32 [channels, height, width]``.

    Its mean is about 0, and its standard deviation about 1.
    """
    mix = _mixing(channels)
    image = np.zeros((channels, height, width), np.float32)
    texture = np.tensordot(mix, spectral(rng, (channels, height, width)), 1)
    mean = MEAN * (mix @ rng.standard_normal(channels))
    contrast = rng.uniform(MIN_CONTRAST, MAX_CONTRAST)
    for region, inside, y, x in _random_leaves(rng, height, width):
        colour = mean + contrast * (mix @ rng.standard_normal(channels))
        slope = SHADING * rng.standard_normal(2)
        strength = TEXTURE * abs(rng.standard_normal())
        shade = slope[0] * y + slope[1] * x
        leaf = colour[:, None, None] + shade + strength * texture[:, *region]
        image[:, *region] = np.where(inside, leaf, image[:, *region])
    return image


def spectral(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Generate noise whose amplitude is inversely proportional to the frequency (1/f).

    Natural signals have such a spectrum.

    Args:
        rng: The random number generator.
        shape: The first axis counts independent signals, which extend along the other axes.

    Returns:
        ``float32`` of this shape; each signal has mean 0 and standard deviation 1.
    """
    axes = tuple(range(1, len(shape)))
    frequencies = np.meshgrid(*map(np.fft.fftfreq, shape[1:]), indexing="ij")
    lengths = np.sqrt(sum(each**2 for each in frequencies))
    amplitude = np.divide(1, lengths, where=lengths > 0, out=np.zeros_like(lengths))
    white = np.fft.fftn(rng.standard_normal(shape), axes=axes)
    found = np.fft.ifftn(white * amplitude, axes=axes).real
    deviation = found.std(axis=axes, keepdims=True)
    return np.asarray(found / np.maximum(deviation, 1e-12), np.float32)


def _mixing(channels: int) -> Floats:
    """Return the matrix ``[channels, channels]`` that correlates independent random numbers."""
    covariance = np.full((channels, channels), CORRELATION)
    np.fill_diagonal(covariance, 1.0)
    return np.linalg.cholesky(covariance).astype(np.float32)


def _random_leaves(
    rng: np.random.Generator, height: int, width: int
) -> Iterator[tuple[tuple[slice, slice], npt.NDArray[np.bool_], Numbers, Numbers]]:
    """Yield the background and each leaf.

    Returns:
        The bounding region in the image, the mask of the leaf in it, and the relative row and
        column coordinates of the region.
    """
    rows, columns = (np.arange(size, dtype=np.float32) for size in (height, width))
    side = max(height, width)
    yield (
        (slice(None), slice(None)), np.ones((height, width), np.bool_),
        rows[:, None] / height - 0.5, columns / width - 0.5,
    )  # fmt: skip
    count = int(np.exp(rng.uniform(np.log(MIN_LEAVES), np.log(MAX_LEAVES))))
    low, high = max(1.0, MIN_RADIUS * side), MAX_RADIUS * side
    for share in rng.random(count):
        radius = (low**-2 + share * (high**-2 - low**-2)) ** -0.5
        centre = rng.uniform(-0.1, 1.1, 2) * (height, width)
        stretch = np.exp(rng.normal(0.0, 0.4))
        reach = radius * max(stretch, 1 / stretch) * np.sqrt(2)
        region = (_extent(centre[0], reach, height), _extent(centre[1], reach, width))
        y, x = (rows[region[0]] - centre[0])[:, None], columns[region[1]] - centre[1]
        angle, kind = rng.uniform(0, np.pi), int(rng.integers(3))
        a = (np.cos(angle) * x + np.sin(angle) * y) / (radius * stretch)
        b = (np.cos(angle) * y - np.sin(angle) * x) * (stretch / radius)
        yield (
            region,
            _inside(kind, a, b),
            (y / side).astype(np.float32),
            (x / side).astype(np.float32),
        )


def _extent(centre: float, reach: float, size: int) -> slice:
    first = int(np.clip(centre - reach, 0, size))
    return slice(first, int(np.clip(np.ceil(centre + reach) + 1, first, size)))


def _inside(
    kind: int, a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return the mask of an ellipse, a rectangle or a triangle of radius 1."""
    if kind == 0:
        return a**2 + b**2 < 1
    if kind == 1:
        return np.maximum(abs(a), abs(b)) < 0.9
    return (a + 1.2 * abs(b) < 0.8) & (a > -0.6)
