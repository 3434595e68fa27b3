"""Run and train an imported graph in PyTorch. The only package that imports ``torch``."""
