"""Engines that run a model: PyTorch for training, ONNX Runtime for truth and time."""
