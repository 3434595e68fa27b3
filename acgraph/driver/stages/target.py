"""The target metric: the cost of a network as written, its budget and its rate."""

from acgraph.analysis.cost import model_cost
from acgraph.config import CompressConfig
from acgraph.diagnostics import Location
from acgraph.driver.cost.compact import Limit, compact
from acgraph.driver.latency.runtime import run_settings
from acgraph.driver.latency.target import share_of_latency
from acgraph.driver.network import Network
from acgraph.driver.space.space import open_space
from acgraph.driver.stages.dead import without_dead
from acgraph.driver.state.context import Context
from acgraph.driver.state.state import State
from acgraph.errors import UsageError
from acgraph.ir import Model


def check_metric(config: CompressConfig, model: Model) -> None:
    """Reject a target whose rate could not be computed at the end.

    Raises:
        UsageError: The target is a rate of MACs, and the MACs of some nodes are unknown.
    """
    unknown = model_cost(model).unknown if config.metric == "macs" else ()
    if unknown:
        more = f" and {len(unknown) - 1} other nodes" if len(unknown) > 1 else ""
        raise UsageError(
            f"the target is a rate of MACs, but the MACs of '{unknown[0]}'{more} are unknown",
            location=Location(model=model.source),
            hint="use another --metric",
        )


def can_cut(network: Network, config: CompressConfig) -> bool:
    """Return whether anything may be cut from a graph."""
    return bool(open_space(network, config).knobs)


def written_cost(context: Context, network: Network) -> float:
    """Return the cost of a shrunk network in its written form, in the metric of the target.

    Dead sets, which purification will remove, do not count. For a target of params or bytes, the
    export uses the smallest forms of layers if it has to, so these count; for one of MACs, the
    forms that the export will choose. Latency is measured, as a share of the original's.
    """
    metric = context.config.metric
    if context.config.purify:
        network = without_dead(network, context.config)
    if metric == "latency":
        settings = run_settings(context.config)
        original = context.original.model
        return share_of_latency(original, network.model, context.chooser, settings)
    limit = Limit(metric, 0)
    chooser = context.chooser if metric == "macs" else limit.chooser
    return limit.size_of(compact(network.model, chooser)[0])


def budget_of(context: Context, rate: float) -> float:
    """Return the largest value of the target metric that reaches a rate."""
    cost = context.original.cost
    before = {"params": cost.params, "size": cost.bytes, "macs": cost.macs, "latency": 1.0}
    return before[context.config.metric] / rate


def rate_of(context: Context, network: Network) -> float:
    """Return the rate of a network in its written form."""
    return budget_of(context, 1.0) / written_cost(context, network)


def limit_of(context: Context, state: State) -> Limit | None:
    """Return the limit that the target sets for the file; None if it is a latency."""
    metric = context.config.metric
    if metric == "latency":
        return None
    if context.config.target_rate is not None:
        return Limit(metric, int(budget_of(context, context.config.target_rate.value)))
    if not state.rounds:
        return None
    # The result of the last attempt, rounded back to a whole number.
    return Limit(metric, round(budget_of(context, state.rounds[-1].rate)))
