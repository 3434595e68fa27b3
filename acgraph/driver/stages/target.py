"""What the target allows, and what a network has of it."""

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
    """Refuse a target whose rate could not be told once all is done.

    Raises:
        UsageError: the target is one of MACs, and those of some nodes are unknown.
    """
    unknown = model_cost(model).unknown if config.metric == "macs" else ()
    if unknown:
        more = f" and {len(unknown) - 1} other nodes" if len(unknown) > 1 else ""
        raise UsageError(
            f"the target is one of MACs, and those of '{unknown[0]}'{more} are unknown",
            location=Location(model=model.source),
            hint="choose another --metric",
        )


def can_cut(network: Network, config: CompressConfig) -> bool:
    """Whether anything of a graph may be cut at all."""
    return bool(open_space(network, config).knobs)


def written_cost(context: Context, network: Network) -> float:
    """Cost of a shrunk network as it would be written, in the metric of the target.

    What purification takes of an untrained network does not count. Where the target is one of
    params or bytes, the export makes layers small in spite of their speed if it must, so the
    smallest form counts; where it is one of MACs, the form that the export will take. Latency is
    measured, as a share of the original's.
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
    """The most that the target metric may be where a rate is reached."""
    cost = context.original.cost
    before = {"params": cost.params, "size": cost.bytes, "macs": cost.macs, "latency": 1.0}
    return before[context.config.metric] / rate


def rate_of(context: Context, network: Network) -> float:
    """The rate of a network as it would be written."""
    return budget_of(context, 1.0) / written_cost(context, network)


def limit_of(context: Context, state: State) -> Limit | None:
    """What the target allows of the file, where it is counted."""
    metric = context.config.metric
    if metric == "latency":
        return None
    if context.config.target_rate is not None:
        return Limit(metric, int(budget_of(context, context.config.target_rate.value)))
    if not state.rounds:
        return None
    # What the last attempt came to, a whole number again.
    return Limit(metric, round(budget_of(context, state.rounds[-1].rate)))
