"""Rules that guess a task from labels, names, the last operators and shapes.

Each returns None where it does not apply.
"""

import re
from collections.abc import Mapping

import numpy as np

from acgraph.tasks.evidence import OutputEvidence
from acgraph.tasks.kinds import Kind, OutputTask

#: Names of outputs that indicate a task; the first match applies.
_NAMES: Mapping[Kind, re.Pattern[str]] = {
    "embedding": re.compile(r"embed|feat|hidden_state|pooler|descriptor", re.IGNORECASE),
    "regression": re.compile(
        r"landmark|ldmk|lmk|kps|keypoint|(^|[^a-z])(pts|points|pose|gaze|age|depth|heatmaps?|coords?)"
        r"([^a-z]|$)",
        re.IGNORECASE,
    ),
    "segmentation": re.compile(r"segm|mask|alpha|matte|saliency", re.IGNORECASE),
    "classification": re.compile(
        r"logit|prob|class|label|softmax|(^|[^a-z])(scores?|cls|preds?|predictions?)([^a-z]|$)",
        re.IGNORECASE,
    ),
}
_CTC = re.compile(r"ctc", re.IGNORECASE)
#: Smallest number of classes of a sequence, including the blank.
_MIN_ALPHABET = 20
#: Smallest number of steps of a sequence.
_MIN_STEPS = 4
#: Numbers of classes of common data sets.
_KNOWN_CLASSES = (10, 100, 1000, 1001, 21841, 21843)
#: Smallest length of an embedding, and the number that it is a multiple of.
_MIN_EMBEDDING, _EMBEDDING_MULTIPLE = 64, 32
#: Largest factor by which a map may be smaller than the input image.
_MAX_MAP_STRIDE = 8
#: Channels of a colour image: a map of so many channels without a softmax is an image.
_IMAGE_CHANNELS = 3
#: Operators that normalise the vectors at the end of a network.
_NORMALISED = frozenset(["BatchNormalization", "LayerNormalization"])
_LINEAR = ("Gemm", "MatMul")


def by_labels(output: OutputEvidence) -> OutputTask | None:
    """Derive the task from the type and the shape of the labels."""
    labels, shape = output.labels, output.shape
    if labels is None or not shape:
        return None
    rest = [size for size in labels.shape[1:] if size != 1]
    if labels.dtype.kind == "f":
        if tuple(labels.shape[1:]) != tuple(shape[1:]):
            return None
        is_one_hot = labels.ndim == 2 and bool((labels.sum(axis=1) == 1).all())
        if is_one_hot and bool(np.isin(labels, (0, 1)).all()):
            return output.task("classification", "the labels are one-hot")
        return output.task("regression", "the labels are real numbers")
    if not rest and len(shape) == 2 and (shape[1] or 0) > 1:
        return output.task("classification", "the labels are class numbers")
    if len(rest) == 2 and len(shape) == 4:
        return output.task("segmentation", "the labels are maps of class numbers",
                         axis=_class_axis(output))  # fmt: skip
    if len(rest) == 1 and len(shape) == 3:
        return stated_sequence(output, "the labels are sequences of class numbers")
    return None


def sequence(output: OutputEvidence) -> OutputTask | None:
    """Recognise class scores of sequences, ``[N, T, classes]`` or ``[T, N, classes]``."""
    shape, facts = output.shape, output.facts
    if len(shape) != 3 or not facts.is_float or facts.form == "sigmoid":
        return None
    classes, steps = shape[2], max(shape[0] or 0, shape[1] or 0)
    is_stated = bool(_CTC.search(facts.name))
    if not is_stated:
        if (classes or 0) < _MIN_ALPHABET or steps < _MIN_STEPS:
            return None
        if _NAMES["embedding"].search(facts.name):
            return None
        is_classes = facts.form != "logits" or facts.last in (*_LINEAR, "Conv")
        longest = max((s or 0 for shape in output.model.inputs.values() for s in shape), default=0)
        if not is_classes or 2 * steps > longest or not _reads_signal(output):
            return None
    why = "it has scores of many classes for each step of an image or a signal"
    return stated_sequence(output, why if not is_stated else "its name indicates it")


def _reads_signal(output: OutputEvidence) -> bool:
    """Return whether an input is an image or a signal, and not a text."""
    floats = [name for name in output.model.inputs if name not in output.model.integers]
    return any(len(output.model.inputs[name]) >= 3 for name in floats)


def stated_sequence(output: OutputEvidence, reason: str = "as stated") -> OutputTask:
    """Return the task ``ctc``.

    The batch is the first axis, unless only the second one has size 1 or an unknown size.
    """
    shape = output.shape
    is_second = len(shape) == 3 and shape[0] not in (1, None) and shape[1] in (1, None)
    return output.task("ctc", reason, axis=2, batch_axis=1 if is_second else 0)


def named(output: OutputEvidence) -> OutputTask | None:
    """Derive the task from the name of the output, unless its shape or form contradicts it."""
    for kind, pattern in _NAMES.items():
        if not pattern.search(output.facts.name):
            continue
        rank = len(output.shape)
        if kind == "segmentation" and not (rank == 4 and _is_map(output)):
            continue
        if kind == "embedding" and output.facts.form != "logits":
            continue
        if kind == "classification" and (rank < 2 or (output.columns or 2) < 2 or rank == 4):
            continue
        axis = _class_axis(output) if kind in ("segmentation", "classification") else None
        options = {} if axis is None else {"axis": axis}
        return output.task(kind, "its name indicates it", **options)
    return None


def probability(output: OutputEvidence) -> OutputTask | None:
    """Derive the task of an output that ends in Softmax or Sigmoid.

    It is ``classification`` for examples, and ``segmentation`` for maps.
    """
    form = output.facts.form
    if form == "logits" or not output.shape or (len(output.shape) == 1 and form != "sigmoid"):
        return None
    if (
        form == "sigmoid"
        and len(output.shape) == 3
        and _NAMES["segmentation"].search(output.facts.name)
    ):
        return output.task(
            "imitate", "its name is that of a mask, by which other values are multiplied"
        )
    word = {"softmax": "Softmax", "log-softmax": "LogSoftmax", "sigmoid": "Sigmoid"}[form]
    why = f"it ends in {word}"
    if len(output.shape) != 4 or output.columns is not None or _size(output) == 1:
        return output.task("classification", why, axis=_class_axis(output))
    if form == "sigmoid" and output.shape[_class_axis(output)] == _IMAGE_CHANNELS:
        return output.task("imitate", "it ends in Sigmoid and has three channels, as an image has")
    if not _is_map(output):
        return None
    return output.task("segmentation", f"it is a map of the size of the input and ends in {word}",
                     axis=_class_axis(output))  # fmt: skip


def label_map(output: OutputEvidence) -> OutputTask | None:
    """Recognise a map of logits of the size of the input image."""
    shape = output.shape
    if len(shape) != 4 or not _is_map(output, whole=True):
        return None
    classes = shape[_class_axis(output)] or 0
    if classes < 2 or classes == _IMAGE_CHANNELS:
        return None
    return output.task("segmentation", f"it has {classes} numbers for each position of the input",
                     axis=_class_axis(output))  # fmt: skip


def embedding(output: OutputEvidence) -> OutputTask | None:
    """Recognise long vectors without an activation, or normalised vectors of tokens."""
    facts, columns = output.facts, output.columns
    axis = facts.channel_axis
    is_normal = facts.last in _NORMALISED
    if len(output.shape) == 3 and facts.last == "LayerNormalization":
        return output.task("embedding", "it ends in LayerNormalization", axis=2)
    if columns is None or facts.form != "logits" or columns in _KNOWN_CLASSES:
        return None
    if columns < _MIN_EMBEDDING or columns % _EMBEDDING_MULTIPLE:
        return None
    why = f", and it ends in {facts.last}" if is_normal else ""
    index = next(i for i, size in enumerate(output.shape) if i and size == columns)
    return output.task("embedding", f"it is a vector of {columns} numbers{why}",
                     axis=axis if axis is not None else index, is_sure=False)  # fmt: skip


def classes(output: OutputEvidence) -> OutputTask | None:
    """Recognise logits: of a common number of classes, or of a layer after global pooling."""
    if len(output.shape) != 2 or (output.columns or 0) < 2 or output.facts.form != "logits":
        return None
    if output.columns in _KNOWN_CLASSES:
        return output.task(
            "classification",
            f"{output.columns} numbers for each example are often classes",
            is_sure=False,
        )
    if output.facts.is_pooled:
        return output.task(
            "classification", f"its {output.facts.last} follows global pooling", is_sure=False
        )
    return None


def vector_next_to_classes(output: OutputEvidence) -> OutputTask | None:
    """Recognise a vector such as a box or landmarks in a network that also outputs classes."""
    if output.facts.form != "logits" or len(output.shape) != 2 or output.facts.last not in _LINEAR:
        return None
    others = [each for each in output.model.outputs if each.name != output.facts.name]
    classes = [
        each.name for each in others if each.form == "softmax" and len(each.shape or ()) == 2
    ]
    if not classes:
        return None
    return output.task(
        "regression",
        f"it has no activation and accompanies the classes {classes[0]}",
        is_sure=False,
    )


def single_number(output: OutputEvidence) -> OutputTask | None:
    """Recognise a single number for each example, without an activation."""
    if output.facts.form != "logits" or len(output.shape) != 2 or output.facts.last not in _LINEAR:
        return None
    if output.shape[1] != 1:
        return None
    return output.task("regression", "it is a single number without an activation")


def _class_axis(output: OutputEvidence) -> int:
    """Return the class axis: that of the softmax, of the last layer's filters, or a default."""
    rank = len(output.shape)
    for axis in (output.facts.form_axis, output.facts.channel_axis):
        if axis is not None:
            return axis
    return rank - 1 if rank == 3 else 1


def _size(output: OutputEvidence) -> int:
    """Return the number of positions of a map; 0 if it is unknown."""
    rest = [
        size for index, size in enumerate(output.shape) if index not in (0, _class_axis(output))
    ]
    return 0 if None in rest else int(np.prod([size or 0 for size in rest]))


def _is_map(output: OutputEvidence, *, whole: bool = False) -> bool:
    """Return whether an output is a map of the image's size, or smaller unless ``whole``."""
    image = output.model.image_sizes()
    axis = _class_axis(output)
    sizes = [size for index, size in enumerate(output.shape) if index not in (0, axis)]
    if image is None or len(sizes) != 2 or None in sizes:
        return False
    steps = {have / (size or 1) for have, size in zip(image, sizes, strict=True)}
    return len(steps) == 1 and (steps == {1.0} if whole else 1 <= min(steps) <= _MAX_MAP_STRIDE)
