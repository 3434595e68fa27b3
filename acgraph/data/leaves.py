"""Synthetic pictures: leaves of random shape that fall on each other, with natural spectra.

The dead leaves model (Matheron 1968; Lee, Mumford and Huang, IJCV 2001): where the radii of the
leaves follow a power law of exponent 3, edges and sizes are distributed at all scales as they are
in photographs. Networks can be trained on such pictures (Baradad et al., NeurIPS 2021).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.floating[Any]]

#: Fewest and most leaves of a picture beside the ground.
MIN_LEAVES, MAX_LEAVES = 6, 80
#: Radii, as shares of the longer side.
MIN_RADIUS, MAX_RADIUS = 0.02, 0.7
#: Correlation of colour channels in photographs, about.
CORRELATION = 0.9
#: Deviations: of the mean of a picture; of the colours of its leaves, at least and at most; of the
#: shading across a leaf; of the texture on it. All together are about 1.
MEAN, MIN_CONTRAST, MAX_CONTRAST, SHADING, TEXTURE = 0.6, 0.3, 1.2, 0.35, 0.2


def leaves(rng: np.random.Generator, channels: int, height: int, width: int) -> Floats:
    """Make ``float32 [channels, height, width]`` of mean about 0 and deviation about 1."""
    mix = _mixing(channels)
    picture = np.zeros((channels, height, width), np.float32)
    texture = np.tensordot(mix, spectral(rng, (channels, height, width)), 1)
    ground = MEAN * (mix @ rng.standard_normal(channels))
    contrast = rng.uniform(MIN_CONTRAST, MAX_CONTRAST)
    for place, inside, y, x in _falling(rng, height, width):
        colour = ground + contrast * (mix @ rng.standard_normal(channels))
        slope = SHADING * rng.standard_normal(2)
        strength = TEXTURE * abs(rng.standard_normal())
        shade = slope[0] * y + slope[1] * x
        leaf = colour[:, None, None] + shade + strength * texture[:, *place]
        picture[:, *place] = np.where(inside, leaf, picture[:, *place])
    return picture


def spectral(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Make noise whose amplitude falls with the frequency, as that of natural signals does.

    Args:
        rng: Where chance comes from.
        shape: The first axis counts independent signals; the others are where they extend.

    Returns:
        ``float32`` of this shape, of mean 0 and deviation 1 in each signal.
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
    """Return what makes independent numbers correlated ones, ``[channels, channels]``."""
    covariance = np.full((channels, channels), CORRELATION)
    np.fill_diagonal(covariance, 1.0)
    return np.linalg.cholesky(covariance).astype(np.float32)


def _falling(
    rng: np.random.Generator, height: int, width: int
) -> Iterator[tuple[tuple[slice, slice], npt.NDArray[np.bool_], Numbers, Numbers]]:
    """Yield each leaf: the part of the picture around it, where in it it lies, rows, columns."""
    rows, columns = (np.arange(size, dtype=np.float32) for size in (height, width))
    side = max(height, width)
    yield (
        (slice(None), slice(None)), np.ones((height, width), np.bool_),
        rows[:, None] / height - 0.5, columns / width - 0.5,
    )  # fmt: skip
    count = int(np.exp(rng.uniform(np.log(MIN_LEAVES), np.log(MAX_LEAVES))))
    least, most = max(1.0, MIN_RADIUS * side), MAX_RADIUS * side
    for share in rng.random(count):
        radius = (least**-2 + share * (most**-2 - least**-2)) ** -0.5
        centre = rng.uniform(-0.1, 1.1, 2) * (height, width)
        stretch = np.exp(rng.normal(0.0, 0.4))
        reach = radius * max(stretch, 1 / stretch) * np.sqrt(2)
        place = (_part(centre[0], reach, height), _part(centre[1], reach, width))
        y, x = (rows[place[0]] - centre[0])[:, None], columns[place[1]] - centre[1]
        angle, kind = rng.uniform(0, np.pi), int(rng.integers(3))
        a = (np.cos(angle) * x + np.sin(angle) * y) / (radius * stretch)
        b = (np.cos(angle) * y - np.sin(angle) * x) * (stretch / radius)
        yield (
            place,
            _inside(kind, a, b),
            (y / side).astype(np.float32),
            (x / side).astype(np.float32),
        )


def _part(centre: float, reach: float, size: int) -> slice:
    first = int(np.clip(centre - reach, 0, size))
    return slice(first, int(np.clip(np.ceil(centre + reach) + 1, first, size)))


def _inside(
    kind: int, a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Say where an ellipse, a rectangle or a triangle of radius 1 lies."""
    if kind == 0:
        return a**2 + b**2 < 1
    if kind == 1:
        return np.maximum(abs(a), abs(b)) < 0.9
    return (a + 1.2 * abs(b) < 0.8) & (a > -0.6)
