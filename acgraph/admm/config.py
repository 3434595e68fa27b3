"""Configuration of an ADMM run."""

import math
from dataclasses import dataclass

from acgraph.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmmConfig:
    """Schedule of an ADMM run, in the notation of the paper.

    The ``minimise`` callable determines the duration and learning rate of the W step.

    Attributes:
        rho: Penalty of the first update, positive; 1e-3 in the authors' template for CIFAR.
        rho_growth: Factor of rho after each update, at least 1; 1.3 in the same template.
        rho_max: Upper bound of rho.
        updates: Largest number of updates of Z and U, at least 1.
        tolerance: The run has converged if the primal and the dual residual, both relative to the
            norm of the weights, are at most this. With 0, only an exact fixed point ends it early.
    """

    rho: float = 1e-3
    rho_growth: float = 1.3
    rho_max: float = math.inf
    updates: int = 10
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        checks = (
            (0.0 < self.rho < math.inf, f"rho must be positive, not {self.rho:g}"),
            (self.rho_growth >= 1.0, f"rho growth must be at least 1, not {self.rho_growth:g}"),
            (
                self.rho_max >= self.rho,
                f"rho_max must be at least rho, {self.rho:g}, not {self.rho_max:g}",
            ),
            (self.updates >= 1, f"ADMM needs at least 1 update, not {self.updates}"),
            (self.tolerance >= 0.0, f"the tolerance must be at least 0, not {self.tolerance:g}"),
        )
        for is_met, message in checks:
            if not is_met:
                raise UsageError(message)

    def rho_at(self, update: int) -> float:
        """Return rho of an update, counted from 0: ``min(rho * growth ** update, rho_max)``."""
        return min(self.rho * self.rho_growth**update, self.rho_max)
