"""Run and time a model in ONNX Runtime. The only package that imports ``onnxruntime``."""

from acgraph.telemetry import warn_if_late

warn_if_late()
