"""The stages of ``compress`` and ``prune``, in order."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acgraph.driver.compress import compress
    from acgraph.driver.prune import PruneResult, prune

__all__ = ["PruneResult", "compress", "prune"]


def __getattr__(name: str) -> Any:
    # Late, because the stages load torch and onnxruntime.
    if name == "compress":
        from acgraph.driver.compress import compress

        return compress
    if name in ("prune", "PruneResult"):
        from acgraph.driver import prune as module

        return getattr(module, name)
    raise AttributeError(name)
