"""What runs on the emulated processor: a model on stored inputs. Needs numpy and ONNX Runtime only.

arm_probe.py MODEL INPUTS.npz OUTPUTS.npz
"""

import json
import platform
import sys

import numpy as np
import onnxruntime as ort


def main() -> None:
    model, inputs, outputs = sys.argv[1:]
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with np.load(inputs) as stored:
        feeds = {info.name: stored[str(n)] for n, info in enumerate(session.get_inputs())}
    made = session.run(None, feeds)
    np.savez(outputs, **{str(number): value for number, value in enumerate(made)})
    json.dump({"machine": platform.machine(), "onnxruntime": ort.__version__}, sys.stdout)


if __name__ == "__main__":
    main()
