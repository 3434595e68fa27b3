"""Run and train an imported graph in PyTorch. The only package that imports ``torch``."""

import os

# OpenMP threads wait for each other hundreds of times per step. Busy waiting makes training up to
# ten times slower if another process uses the CPU; passive waiting costs little if none does.
# PyTorch reads the variable when it is imported. A value that the user has set is kept.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
