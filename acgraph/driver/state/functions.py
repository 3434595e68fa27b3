"""Functions of the user that replace built-in ones in a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from acgraph.backends.training import Evaluate, TrainConfig
from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.errors import UsageError
from acgraph.pruning.importance import Importance


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFunctions:
    """The functions of the user; None stands for the built-in function.

    Attributes:
        loss: The training loss: from tensors of the training backend to a scalar tensor.
        evaluate: The score of a network.
        importance: The scores of the filters of a weight, by which they are ranked.
    """

    loss: Callable[..., Any] | None = None
    evaluate: Evaluate | None = None
    importance: Importance | None = None

    @property
    def names(self) -> dict[str, str]:
        """The names of the functions, ``module.function``, by keyword."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: _name(found) for name, found in given.items() if found is not None}

    def check(self, config: CompressConfig) -> None:
        """Reject options that would have no effect next to a function of the user.

        Raises:
            UsageError: There is one.
        """
        if self.loss is not None:
            own = TrainConfig()
            for name in ("distill_weight", "distill_temperature"):
                if getattr(config.train, name) != getattr(own, name):
                    raise UsageError(
                        f"{name} belongs to the built-in loss, which the function loss replaces",
                        hint=f"omit {name} or loss",
                    )
        if self.importance is not None and not config.filters:
            raise UsageError(
                "importance ranks filters, but only columns are cut",
                hint="omit importance or columns_only",
            )
        scoring = {"evaluate": self.evaluate, "importance": self.importance}
        is_parallel = config.search.workers > 1 or config.search.cluster is not None
        for name, found in scoring.items():
            if is_parallel and found is not None:
                raise UsageError(
                    f"{name} is a function of this process, but other processes evaluate the "
                    "candidates",
                    hint="leave search.workers at 1 and omit search.cluster",
                )


NO_FUNCTIONS = UserFunctions()


def check_functions(before: Mapping[str, str], now: UserFunctions, where: Location) -> None:
    """Reject a resumed run with other functions than it was started with.

    Only their names can be compared, not what they compute.

    Args:
        before: Names of the functions that the run was started with, by keyword.
        now: The current functions.
        where: The folder of its results.

    Raises:
        UsageError: A function is missing, has another name, or was added.
    """
    for name in sorted({*before, *now.names}):
        first, found = before.get(name, "no function"), now.names.get(name, "no function")
        if first != found:
            raise UsageError(
                f"the run was started with {name} {first}, not {found}",
                location=where,
                hint="pass the same functions to acgraph.compress(resume=...), or start a new run",
            )


def _name(function: Callable[..., Any]) -> str:
    inner = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", type(function).__module__)
    return f"{module}.{inner}"
