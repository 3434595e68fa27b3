"""Make a YOLOv8 detector twice as small in multiply-accumulates, without labels.

The model is inside the package nudenet==3.4.2.
"""

from common import run
from packaged import packaged, pictures

if __name__ == "__main__":
    model = packaged("nudenet", "320n.onnx", "nudenet==3.4.2")
    run(model, pictures(256, 320, 320))
