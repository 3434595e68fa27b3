"""Make trained ONNX networks smaller and faster by exact structured pruning.

Importing the package loads none of onnx, torch and onnxruntime; each name loads what it needs on
first access::

    import acgraph

    result = acgraph.prune("model.onnx", sparsity=0.5, keep=["head*"])
    result.save("out")
    again = acgraph.apply("model.onnx", "out/plan.json")

Each function corresponds to a command of the command line, and its keyword arguments to the
options of that command.
"""

import importlib
from typing import TYPE_CHECKING

import acgraph.telemetry  # noqa: F401  # before anything imports onnxruntime
from acgraph.version import __version__

if TYPE_CHECKING:
    from acgraph.api.compress import CompressResult, compress
    from acgraph.api.diff import DiffResult, diff
    from acgraph.api.inspect import InspectResult, inspect
    from acgraph.api.measure import MeasureResult, measure
    from acgraph.api.prune import PruneResult, apply, prune
    from acgraph.api.verify import VerifyResult, verify
    from acgraph.errors import AcgraphError, UsageError
    from acgraph.ir import Model, read_model, write_model
    from acgraph.pruning.cut_plan import CutPlan
    from acgraph.pruning.rate import Rate

__all__ = [
    "AcgraphError",
    "CompressResult",
    "CutPlan",
    "DiffResult",
    "InspectResult",
    "MeasureResult",
    "Model",
    "PruneResult",
    "Rate",
    "UsageError",
    "VerifyResult",
    "__version__",
    "apply",
    "compress",
    "diff",
    "inspect",
    "measure",
    "prune",
    "read_model",
    "verify",
    "write_model",
]

_HOMES = {
    "AcgraphError": "acgraph.errors",
    "CompressResult": "acgraph.api.compress",
    "CutPlan": "acgraph.pruning.cut_plan",
    "DiffResult": "acgraph.api.diff",
    "InspectResult": "acgraph.api.inspect",
    "MeasureResult": "acgraph.api.measure",
    "Model": "acgraph.ir",
    "PruneResult": "acgraph.api.prune",
    "Rate": "acgraph.pruning.rate",
    "UsageError": "acgraph.errors",
    "VerifyResult": "acgraph.api.verify",
    "apply": "acgraph.api.prune",
    "compress": "acgraph.api.compress",
    "diff": "acgraph.api.diff",
    "inspect": "acgraph.api.inspect",
    "measure": "acgraph.api.measure",
    "prune": "acgraph.api.prune",
    "read_model": "acgraph.ir",
    "verify": "acgraph.api.verify",
    "write_model": "acgraph.ir",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first access, and cache it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
