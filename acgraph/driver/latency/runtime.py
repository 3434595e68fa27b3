"""How ONNX Runtime is set while a run times anything: as what shall run the compressed model."""

from acgraph.backends.ort.session import SessionSettings
from acgraph.config import CompressConfig, Runtime


def session_settings(runtime: Runtime, *, threads: int | None = None) -> SessionSettings:
    """Return the settings of a runtime.

    Args:
        runtime: ``ort`` is ONNX Runtime as it comes, with the NCHWc layout that x86 servers use;
            ``ort-mobile`` that of a phone, which has none. On a host without that layout the two
            are the same.
        threads: Threads inside an operator; 1 by default.
    """
    return SessionSettings(threads=threads or 1, nchwc=runtime == "ort")


def run_settings(config: CompressConfig) -> SessionSettings:
    """Return the settings of everything that a run times."""
    return session_settings(config.runtime, threads=config.threads)
