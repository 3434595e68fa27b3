"""Figures of single outputs, without labels: how far a network does what the original does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from acgraph.tasks.kinds import Array
from acgraph.tasks.spread import ChannelErrors


class Told(Protocol):
    """What a figure says once all examples were taken in."""

    @property
    def value(self) -> float:
        """What a search goes by, from 0 to 1, 1 at best."""
        ...

    @property
    def text(self) -> str:
        """The same in the words of the field."""
        ...

    @property
    def numbers(self) -> Mapping[str, float]:
        """The numbers in ``text``, by name."""
        ...


class Figure(Told, Protocol):
    """A figure of one output, or of the outputs of one detector, without labels."""

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Take in a batch: the output, or boxes and scores, of the network and the original."""
        ...


def percent(share: float) -> str:
    """Write a share.

    >>> percent(0.98765)
    '98.8 %'
    """
    return f"{100 * share:.1f} %"


@dataclass(slots=True)
class Explained:
    """``imitate``: the variance of the original's output that is explained, mean over channels."""

    axis: int | None = None
    _errors: ChannelErrors = field(init=False)
    _same: int = 0
    _count: int = 0

    def __post_init__(self) -> None:
        self._errors = ChannelErrors(self.axis)

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Take in a batch; values that are no floats are compared as they are."""
        for mine, other in zip(ours, theirs, strict=True):
            if other.dtype.kind == "f":
                self._errors.add(mine, other)
            else:
                self._same += int(np.count_nonzero(mine == other))
                self._count += other.size

    @property
    def value(self) -> float:
        """Share of the variance, or of equal values."""
        return self._same / self._count if self._count else self._errors.explained()

    @property
    def text(self) -> str:
        """In words."""
        if self._count:
            return f"{percent(self.value)} of the values are equal"
        return f"{percent(self.value)} of the variance explained"

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        return {"equal values" if self._count else "explained variance": self.value}


@dataclass(slots=True)
class NormalisedError:
    """``regression``: RMS error over the spread of the original's output, mean over channels."""

    axis: int | None = 1
    _errors: ChannelErrors = field(init=False)

    def __post_init__(self) -> None:
        self._errors = ChannelErrors(self.axis)

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Take in a batch."""
        self._errors.add(ours[0], theirs[0])

    @property
    def value(self) -> float:
        """1 minus the error, not below 0."""
        return max(0.0, 1.0 - self._errors.normalised())

    @property
    def text(self) -> str:
        """In words."""
        return f"normalised error {percent(self._errors.normalised())}"

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        return {"normalised error": self._errors.normalised()}


@dataclass(slots=True)
class Cosine:
    """``embedding``: mean cosine between the two vectors of an example."""

    axis: int = -1
    _sum: float = 0.0
    _count: int = 0

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Take in a batch; a vector with a NaN has the cosine 0, two of zeros 1."""
        mine, other = (np.asarray(each[0], np.float64) for each in (ours, theirs))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            lengths = np.linalg.norm(mine, axis=self.axis) * np.linalg.norm(other, axis=self.axis)
            found = (mine * other).sum(axis=self.axis) / lengths
        found = np.where(np.isfinite(found), found, (mine == other).all(axis=self.axis))
        self._sum += float(found.sum())
        self._count += found.size

    @property
    def _mean(self) -> float:
        return self._sum / max(self._count, 1)

    @property
    def value(self) -> float:
        """The cosine, not below 0."""
        return min(1.0, max(0.0, self._mean))

    @property
    def text(self) -> str:
        """In words."""
        return f"mean cosine {self._mean:.4f}"

    @property
    def numbers(self) -> dict[str, float]:
        """By name."""
        return {"cosine": self._mean}
