"""Sections of the configuration of ``compress``: the search, and the pruning of columns."""

from typing import Annotated, Self

import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from acgraph.errors import UsageError
from acgraph.limits import MAX_WORKERS
from acgraph.lowering.patterns import check_pattern
from acgraph.search.annealing import AnnealConfig
from acgraph.search.methods import Method


class SearchConfig(BaseModel):
    """Options of the search for the rate of each layer.

    Attributes:
        method: The algorithm, as in ``acgraph.search.search``.
        evaluations: Largest number of points to evaluate in a round; None lets the driver choose.
        recalibrate: Number of training batches on which BatchNormalization is recalibrated before
            a point is evaluated; 0 turns this off.
        workers: Number of processes that evaluate points in parallel; each holds a copy of the
            network. ``anneal.batch`` is raised to this number.
        cluster: Address of a Dask scheduler, for instance ``tcp://host:8786``, whose workers
            evaluate points instead, each one at a time; ``anneal.batch`` is raised to their
            number. None uses no cluster.
        anneal: Parameters of simulated annealing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    method: Method = "annealing"
    evaluations: Annotated[int, Field(ge=1)] | None = None
    recalibrate: Annotated[int, Field(ge=0)] = 4
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] = 1
    cluster: Annotated[str, Field(min_length=1)] | None = None
    anneal: AnnealConfig = AnnealConfig()

    @pydantic.model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.cluster is not None and self.workers > 1:
            raise UsageError(
                "both search.workers and search.cluster are given",
                hint="leave search.workers at 1; the cluster evaluates the candidates",
            )
        return self


class ColumnConfig(BaseModel):
    """Whether and how columns are pruned.

    Attributes:
        enabled: Whether columns are pruned. None prunes them unless the target is of MACs:
            for the same number of MACs, removing filters loses less accuracy (docs/method.md).
        pattern: Which columns of a layer are removed together: one of
            ``acgraph.lowering.patterns.PATTERN_CHOICES``; ``auto`` chooses for each layer.
            None is ``auto`` where the target is a latency, else ``free``: compared with free
            columns, regular ones lose accuracy at an equal number of weights, and gain accuracy at
            an equal latency (docs/lowering.md).
        multiple: Keep a multiple of this many channels at each kernel position: a vector width.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool | None = None
    pattern: Annotated[str, AfterValidator(check_pattern)] | None = None
    multiple: Annotated[int, Field(ge=1)] = 1
