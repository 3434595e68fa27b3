"""Sections of the options of ``compress``: how rates are searched, how columns are pruned."""

from typing import Annotated, Self

import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from acgraph.errors import UsageError
from acgraph.lowering.patterns import check_pattern
from acgraph.search.annealing import AnnealConfig
from acgraph.search.methods import Method


class SearchConfig(BaseModel):
    """How rates are searched.

    Attributes:
        method: As in ``acgraph.search.search``.
        evaluations: The most points to evaluate in a round; None leaves it to the driver.
        recalibrate: Training batches on which BatchNormalization is recalibrated before a point is
            judged; 0 is without.
        workers: Processes that judge points at once; each holds a copy of the network. With more
            than ``anneal.batch`` the batch is as large.
        cluster: Address of a Dask scheduler, as ``tcp://host:8786``, whose workers judge points
            instead, each one at a time; as with ``workers`` the batch is as large. None is without.
        anneal: How an annealing runs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    method: Method = "annealing"
    evaluations: Annotated[int, Field(ge=1)] | None = None
    recalibrate: Annotated[int, Field(ge=0)] = 4
    workers: Annotated[int, Field(ge=1)] = 1
    cluster: Annotated[str, Field(min_length=1)] | None = None
    anneal: AnnealConfig = AnnealConfig()

    @pydantic.model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.cluster is not None and self.workers > 1:
            raise UsageError(
                "both search.workers and search.cluster are given",
                hint="leave search.workers at 1: the cluster's workers judge the points",
            )
        return self


class ColumnConfig(BaseModel):
    """Whether and how columns are pruned.

    Attributes:
        enabled: Without it only filters are. None cuts them unless the target is of MACs alone:
            filters lose less for as many MACs (docs/method.md).
        pattern: Which columns of a layer may stay together: one of
            ``acgraph.lowering.patterns.PATTERN_CHOICES``; ``auto`` chooses for each layer.
            None is ``auto`` where the target is a latency, else ``free``: regular columns cost
            accuracy for as many weights, and win it for as much time (docs/lowering.md).
        multiple: Keep a multiple of so many channels at each kernel position: a vector width.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool | None = None
    pattern: Annotated[str, AfterValidator(check_pattern)] | None = None
    multiple: Annotated[int, Field(ge=1)] = 1
