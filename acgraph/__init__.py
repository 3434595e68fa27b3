"""Make trained ONNX networks smaller and faster, exactly.

Importing the package loads none of onnx, torch and onnxruntime; each name loads what it needs when
it is first asked for::

    import acgraph

    result = acgraph.prune(acgraph.read_model("model.onnx"), sparsity=0.5)
    acgraph.write_model(result.model, "small.onnx")
"""

import importlib
from typing import TYPE_CHECKING

import acgraph.telemetry  # noqa: F401  # before anything imports onnxruntime

if TYPE_CHECKING:
    from acgraph.analysis.dependency import analyse
    from acgraph.backends.ort.latency import measure_latency
    from acgraph.backends.ort.law import check_law
    from acgraph.config import CompressConfig, make_config
    from acgraph.diff.compare import diff_models
    from acgraph.driver.compress import compress
    from acgraph.driver.prune import prune
    from acgraph.errors import AcgraphError
    from acgraph.ir import Model, read_model, write_model
    from acgraph.pruning.rate import Rate

__version__ = "0.1.0"

__all__ = [
    "AcgraphError",
    "CompressConfig",
    "Model",
    "Rate",
    "__version__",
    "analyse",
    "check_law",
    "compress",
    "diff_models",
    "make_config",
    "measure_latency",
    "prune",
    "read_model",
    "write_model",
]

_HOMES = {
    "AcgraphError": "acgraph.errors",
    "CompressConfig": "acgraph.config",
    "Model": "acgraph.ir",
    "Rate": "acgraph.pruning.rate",
    "analyse": "acgraph.analysis.dependency",
    "check_law": "acgraph.backends.ort.law",
    "compress": "acgraph.driver.compress",
    "diff_models": "acgraph.diff.compare",
    "make_config": "acgraph.config",
    "measure_latency": "acgraph.backends.ort.latency",
    "prune": "acgraph.driver.prune",
    "read_model": "acgraph.ir",
    "write_model": "acgraph.ir",
}


def __getattr__(name: str) -> object:
    """Load a public name from where it lives, and keep it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
