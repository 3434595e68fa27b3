"""Make Silero's voice activity detector smaller: a stream whose state goes in and comes out.

The model is inside the package silero-vad==6.2.3.
"""

import numpy as np
from common import run
from packaged import packaged, speech

if __name__ == "__main__":
    model = packaged("silero_vad", "data/silero_vad_half.onnx", "silero-vad==6.2.3")
    rng, count = np.random.default_rng(0), 512
    # State of a stream that has been running; zeros are the state at its start.
    state = np.tanh(rng.normal(0, 1, (2, count, 128))).astype(np.float32)
    state[:, ::2] = 0
    run(model, {"input": speech(count, 576), "state": state})
