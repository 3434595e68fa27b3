"""Make a BERT encoder with four inputs of integers twice as small.

The model is inside the package chython-rxnmap==2.0.
"""

import numpy as np
from common import run
from packaged import packaged

if __name__ == "__main__":
    model = packaged("chython_rxnmap", "rxnmap.onnx", "chython-rxnmap==2.0")
    rng, count, length = np.random.default_rng(0), 256, 24
    run(
        model,
        {
            "atoms": rng.integers(1, 60, (count, length)),
            "neighbors": rng.integers(1, 6, (count, length)),
            "distances": rng.integers(0, 8, (count, length, length)),
            "roles": rng.integers(1, 4, (count, length)),
        },
    )
