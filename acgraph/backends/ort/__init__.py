"""Run and time a model in ONNX Runtime. The only package that imports ``onnxruntime``."""
