"""Make PP-OCRv4's recogniser of text twice as small, on images of different widths.

The model is inside the package rapidocr-onnxruntime==1.4.4.
"""

from common import run
from packaged import packaged, text_lines

if __name__ == "__main__":
    model = packaged(
        "rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx", "rapidocr-onnxruntime==1.4.4"
    )
    # A list of examples may mix sizes; each has the shape of an input without the batch.
    lines = [x for width in (192, 256, 320) for x in text_lines(80, 48, width, seed=width)]
    run(model, [{"x": x} for x in lines])
