"""Rules that guess a task by labels, names, the last operators and shapes."""

import re
from collections.abc import Mapping

import numpy as np

from acgraph.tasks.kinds import Kind, OutputTask
from acgraph.tasks.seen import Seen

#: Names that say what an output is; the first that fits.
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
#: An alphabet has at least so many characters, the blank among them.
_ALPHABET = 20
#: A sequence has at least so many steps.
_STEPS = 4
#: Counts of classes of common data sets.
_KNOWN_CLASSES = (10, 100, 1000, 1001, 21841, 21843)
#: Embeddings are at least so long, and a multiple of that.
_EMBEDDING, _MULTIPLE = 64, 32
#: How much smaller a map may be than the input's.
_MAP_STEP = 8
#: Maps of so many channels without a softmax are rather pictures.
_PICTURE = 3
#: What normalises the vectors that a network ends with.
_NORMALISED = frozenset(["BatchNormalization", "LayerNormalization"])
_LINEAR = ("Gemm", "MatMul")


def by_labels(seen: Seen) -> OutputTask | None:
    """What the labels are, the output is."""
    labels, shape = seen.labels, seen.shape
    if labels is None or not shape:
        return None
    rest = [size for size in labels.shape[1:] if size != 1]
    if labels.dtype.kind == "f":
        if tuple(labels.shape[1:]) != tuple(shape[1:]):
            return None
        is_one_hot = labels.ndim == 2 and bool((labels.sum(axis=1) == 1).all())
        if is_one_hot and bool(np.isin(labels, (0, 1)).all()):
            return seen.task("classification", "the labels are 0 and 1 for each class")
        return seen.task("regression", "the labels are real numbers")
    if not rest and len(shape) == 2 and (shape[1] or 0) > 1:
        return seen.task("classification", "the labels are class numbers")
    if len(rest) == 2 and len(shape) == 4:
        return seen.task("segmentation", "the labels are maps of class numbers",
                         axis=_class_axis(seen))  # fmt: skip
    if len(rest) == 1 and len(shape) == 3:
        return stated_sequence(seen, "the labels are sequences of class numbers")
    return None


def sequence(seen: Seen) -> OutputTask | None:
    """Recognise ``[N, T, classes]`` and ``[T, N, classes]`` of a network that reads a sequence."""
    shape, facts = seen.shape, seen.facts
    if len(shape) != 3 or not facts.is_float or facts.form == "sigmoid":
        return None
    classes, steps = shape[2], max(shape[0] or 0, shape[1] or 0)
    is_stated = bool(_CTC.search(facts.name))
    if not is_stated:
        if (classes or 0) < _ALPHABET or steps < _STEPS or _NAMES["embedding"].search(facts.name):
            return None
        is_classes = facts.form != "logits" or facts.last in (*_LINEAR, "Conv")
        longest = max((s or 0 for shape in seen.model.inputs.values() for s in shape), default=0)
        if not is_classes or 2 * steps > longest or not _reads_signal(seen):
            return None
    why = "it has scores of many classes for each step of an image or a signal"
    return stated_sequence(seen, why if not is_stated else "its name indicates it")


def _reads_signal(seen: Seen) -> bool:
    """Whether an input is an image or a signal, not a text."""
    floats = [name for name in seen.model.inputs if name not in seen.model.integers]
    return any(len(seen.model.inputs[name]) >= 3 for name in floats)


def stated_sequence(seen: Seen, reason: str = "as stated") -> OutputTask:
    """Return the task of sequences; the batch is the axis of one example, the first if both are."""
    shape = seen.shape
    is_second = len(shape) == 3 and shape[0] not in (1, None) and shape[1] in (1, None)
    return seen.task("ctc", reason, axis=2, batch_axis=1 if is_second else 0)


def named(seen: Seen) -> OutputTask | None:
    """Go by the name of the output, where the rest does not contradict."""
    for kind, pattern in _NAMES.items():
        if not pattern.search(seen.facts.name):
            continue
        rank = len(seen.shape)
        if kind == "segmentation" and not (rank == 4 and _is_map(seen)):
            continue
        if kind == "embedding" and seen.facts.form != "logits":
            continue
        if kind == "classification" and (rank < 2 or (seen.columns or 2) < 2 or rank == 4):
            continue
        axis = _class_axis(seen) if kind in ("segmentation", "classification") else None
        options = {} if axis is None else {"axis": axis}
        return seen.task(kind, "its name indicates it", **options)
    return None


def probability(seen: Seen) -> OutputTask | None:
    """What ends in Softmax or Sigmoid tells classes apart: of examples, or of positions."""
    form = seen.facts.form
    if form == "logits" or not seen.shape or (len(seen.shape) == 1 and form != "sigmoid"):
        return None
    if (
        form == "sigmoid"
        and len(seen.shape) == 3
        and _NAMES["segmentation"].search(seen.facts.name)
    ):
        return seen.task(
            "imitate", "its name is that of a mask, by which other values are multiplied"
        )
    word = {"softmax": "Softmax", "log-softmax": "LogSoftmax", "sigmoid": "Sigmoid"}[form]
    why = f"it ends in {word}"
    if len(seen.shape) != 4 or seen.columns is not None or _size(seen) == 1:
        return seen.task("classification", why, axis=_class_axis(seen))
    if form == "sigmoid" and seen.shape[_class_axis(seen)] == _PICTURE:
        return seen.task("imitate", "it ends in Sigmoid, with three channels as a picture has")
    if not _is_map(seen):
        return None
    return seen.task("segmentation", f"it is a map of the size of the input and ends in {word}",
                     axis=_class_axis(seen))  # fmt: skip


def label_map(seen: Seen) -> OutputTask | None:
    """Raw scores of several classes at every position of the input."""
    shape = seen.shape
    if len(shape) != 4 or not _is_map(seen, whole=True):
        return None
    classes = shape[_class_axis(seen)] or 0
    if classes < 2 or classes == _PICTURE:
        return None
    return seen.task("segmentation", f"it has {classes} numbers for each position of the input",
                     axis=_class_axis(seen))  # fmt: skip


def embedding(seen: Seen) -> OutputTask | None:
    """Long vectors without an activation; token by token where they are normalised."""
    facts, columns = seen.facts, seen.columns
    axis = facts.channel_axis
    is_normal = facts.last in _NORMALISED
    if len(seen.shape) == 3 and facts.last == "LayerNormalization":
        return seen.task("embedding", "it ends in LayerNormalization", axis=2)
    if columns is None or facts.form != "logits" or columns in _KNOWN_CLASSES:
        return None
    if columns < _EMBEDDING or columns % _MULTIPLE:
        return None
    why = f", and it ends in {facts.last}" if is_normal else ""
    place = next(i for i, size in enumerate(seen.shape) if i and size == columns)
    return seen.task("embedding", f"it is a vector of {columns} numbers{why}",
                     axis=axis if axis is not None else place, is_sure=False)  # fmt: skip


def classes(seen: Seen) -> OutputTask | None:
    """Raw scores: as many as a common data set has classes, or a layer behind a global pooling."""
    if len(seen.shape) != 2 or (seen.columns or 0) < 2 or seen.facts.form != "logits":
        return None
    if seen.columns in _KNOWN_CLASSES:
        return seen.task(
            "classification",
            f"{seen.columns} numbers for each example are often classes",
            is_sure=False,
        )
    if seen.facts.is_pooled:
        return seen.task(
            "classification", f"its {seen.facts.last} follows global pooling", is_sure=False
        )
    return None


def beside_classes(seen: Seen) -> OutputTask | None:
    """A raw vector beside an output of classes: a box, landmarks."""
    if seen.facts.form != "logits" or len(seen.shape) != 2 or seen.facts.last not in _LINEAR:
        return None
    others = [each for each in seen.model.outputs if each.name != seen.facts.name]
    classes = [
        each.name for each in others if each.form == "softmax" and len(each.shape or ()) == 2
    ]
    if not classes:
        return None
    return seen.task(
        "regression",
        f"it has no activation and accompanies the classes {classes[0]}",
        is_sure=False,
    )


def number(seen: Seen) -> OutputTask | None:
    """One raw number for each example."""
    if seen.facts.form != "logits" or len(seen.shape) != 2 or seen.facts.last not in _LINEAR:
        return None
    if seen.shape[1] != 1:
        return None
    return seen.task("regression", "it is a single number without an activation")


def _class_axis(seen: Seen) -> int:
    """Return where classes lie: where the softmax says, what the last layer makes, or axis 1."""
    rank = len(seen.shape)
    for axis in (seen.facts.form_axis, seen.facts.channel_axis):
        if axis is not None:
            return axis
    return rank - 1 if rank == 3 else 1


def _size(seen: Seen) -> int:
    """Return how many positions a map has; 0 where that is not known."""
    rest = [size for place, size in enumerate(seen.shape) if place not in (0, _class_axis(seen))]
    return 0 if None in rest else int(np.prod([size or 0 for size in rest]))


def _is_map(seen: Seen, *, whole: bool = False) -> bool:
    """Whether a map has the size of the input, or, unless it must be whole, a few times less."""
    image = seen.model.image_sizes()
    axis = _class_axis(seen)
    sizes = [size for place, size in enumerate(seen.shape) if place not in (0, axis)]
    if image is None or len(sizes) != 2 or None in sizes:
        return False
    steps = {have / (size or 1) for have, size in zip(image, sizes, strict=True)}
    return len(steps) == 1 and (steps == {1.0} if whole else 1 <= min(steps) <= _MAP_STEP)
