"""Run and train an imported graph in PyTorch. The only package that imports ``torch``."""

import os

# Torch's threads wait for each other hundreds of times a step. Spinning while they wait costs a
# factor of ten as soon as anything else runs on the machine; sleeping costs little when nothing
# does. Read when torch is loaded; what the user sets wins.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
