"""Compare the formats that a network is written in."""

from pathlib import Path

import numpy as np

from acgraph.backends.ort.inputs import random_inputs
from acgraph.backends.ort.session import Session


def largest_difference(path: Path, converted: Path) -> float:
    """Return the largest absolute difference of the outputs on random inputs."""
    sessions = Session(path), Session(converted)
    feeds = random_inputs(sessions[0])
    first, second = (session.run(feeds) for session in sessions)
    return max(float(np.abs(np.subtract(first[name], second[name])).max()) for name in first)
