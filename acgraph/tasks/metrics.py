"""Metrics without labels: how far an output of a network agrees with the original's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from acgraph.tasks.kinds import Array
from acgraph.tasks.spread import ChannelErrors


class MetricValue(Protocol):
    """The value of a metric over all examples that were added."""

    @property
    def value(self) -> float:
        """The score that a search maximises, from 0 to 1; 1 is the best."""
        ...

    @property
    def text(self) -> str:
        """The result as text, in the usual unit of the metric."""
        ...

    @property
    def numbers(self) -> Mapping[str, float]:
        """The numbers in ``text``, by name."""
        ...


class AgreementMetric(MetricValue, Protocol):
    """A metric that compares one output, or the outputs of one detector, with the original's."""

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Add a batch.

        Args:
            ours: The output of the network, or the outputs of its detector.
            theirs: The same outputs of the original.
        """
        ...


def percent(share: float) -> str:
    """Format a share as a percentage.

    >>> percent(0.98765)
    '98.8 %'
    """
    return f"{100 * share:.1f} %"


@dataclass(slots=True)
class ExplainedVariance:
    """``imitate``: explained variance of the original's output, as a mean over channels.

    Attributes:
        axis: The axis of the channels; None treats the output as one channel.
    """

    axis: int | None = None
    _errors: ChannelErrors = field(init=False)
    _same: int = 0
    _count: int = 0

    def __post_init__(self) -> None:
        self._errors = ChannelErrors(self.axis)

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Add a batch; values that are not floats are compared for equality."""
        for mine, other in zip(ours, theirs, strict=True):
            if other.dtype.kind == "f":
                self._errors.add(mine, other)
            else:
                self._same += int(np.count_nonzero(mine == other))
                self._count += other.size

    @property
    def value(self) -> float:
        """Share of explained variance; of values that are not floats, the share of equal ones."""
        return self._same / self._count if self._count else self._errors.explained()

    @property
    def text(self) -> str:
        """The share as text."""
        if self._count:
            return f"{percent(self.value)} of the values are equal"
        return f"{percent(self.value)} of the variance explained"

    @property
    def numbers(self) -> dict[str, float]:
        """The share by name."""
        return {"equal values" if self._count else "explained variance": self.value}


@dataclass(slots=True)
class NormalisedError:
    """``regression``: RMS error divided by the standard deviation of the original's output.

    It is a mean over channels.

    Attributes:
        axis: The axis of the channels; None treats the output as one channel.
    """

    axis: int | None = 1
    _errors: ChannelErrors = field(init=False)

    def __post_init__(self) -> None:
        self._errors = ChannelErrors(self.axis)

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Add a batch."""
        self._errors.add(ours[0], theirs[0])

    @property
    def value(self) -> float:
        """1 minus the error, at least 0."""
        return max(0.0, 1.0 - self._errors.normalised())

    @property
    def text(self) -> str:
        """The error as text."""
        return f"normalised error {percent(self._errors.normalised())}"

    @property
    def numbers(self) -> dict[str, float]:
        """The error by name."""
        return {"normalised error": self._errors.normalised()}


@dataclass(slots=True)
class CosineSimilarity:
    """``embedding``: mean cosine similarity of the two vectors of each example.

    Attributes:
        axis: The axis of the vectors.
    """

    axis: int = -1
    _sum: float = 0.0
    _count: int = 0

    def add(self, ours: Sequence[Array], theirs: Sequence[Array]) -> None:
        """Add a batch; the similarity is 0 for a vector with NaN, and 1 for two zero vectors."""
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
        """The mean similarity, at least 0."""
        return min(1.0, max(0.0, self._mean))

    @property
    def text(self) -> str:
        """The mean similarity as text."""
        return f"mean cosine {self._mean:.4f}"

    @property
    def numbers(self) -> dict[str, float]:
        """The mean similarity by name."""
        return {"cosine": self._mean}
