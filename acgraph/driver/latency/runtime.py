"""Settings of ONNX Runtime for all timings of a run: those that the result is meant for."""

from acgraph.backends.ort.session import SessionSettings
from acgraph.config import CompressConfig, Runtime


def session_settings(runtime: Runtime, *, threads: int | None = None) -> SessionSettings:
    """Return the settings of a runtime.

    Args:
        runtime: ``ort`` is ONNX Runtime with its defaults, which include the NCHWc layout on x86
            servers; ``ort-mobile`` is that of a phone, without this layout. On a host without the
            layout, the two are the same.
        threads: Threads inside an operator; 1 by default.
    """
    return SessionSettings(threads=threads or 1, nchwc=runtime == "ort")


def run_settings(config: CompressConfig) -> SessionSettings:
    """Return the settings for all timings of a run."""
    return session_settings(config.runtime, threads=config.threads)
