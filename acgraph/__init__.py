"""Make trained ONNX networks smaller and faster, exactly.

The package imports neither torch nor onnxruntime until a function needs them.
"""

__version__ = "0.1.0"
