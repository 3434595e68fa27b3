"""The training curve of a run: one point for each pass over the training data."""

from dataclasses import replace

from acgraph.backends.training import EpochStats

#: What trained, and a pass of it.
StagePass = tuple[str, EpochStats]


class Curve:
    """Collects passes; several fits of one stage, as the updates of ADMM, are one curve."""

    def __init__(self) -> None:
        self._passes: list[StagePass] = []

    @property
    def passes(self) -> tuple[StagePass, ...]:
        """The passes so far, in order."""
        return tuple(self._passes)

    def begin(self, stage: str) -> "Fit":
        """Return the collector of one more fit of a stage."""
        same = [stats for name, stats in self._passes if name == stage]
        epoch, seconds = (same[-1].epoch, same[-1].seconds) if same else (0.0, 0.0)
        return Fit(self._passes, stage, epoch, seconds)


class Fit:
    """Collects the passes of one fit.

    Args:
        passes: The list that passes are added to.
        stage: Name of the stage.
        epoch: Passes that earlier fits of the stage have done.
        seconds: Seconds that they took.
    """

    def __init__(self, passes: list[StagePass], stage: str, epoch: float, seconds: float) -> None:
        self._passes, self._stage = passes, stage
        self._epoch, self._seconds = epoch, seconds

    def add(self, stats: EpochStats) -> None:
        """Add a pass."""
        epoch, seconds = self._epoch + stats.epoch, self._seconds + stats.seconds
        self._passes.append((self._stage, replace(stats, epoch=epoch, seconds=seconds)))
