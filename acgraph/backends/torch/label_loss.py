"""Losses on labels, for tasks other than classification with one class per example."""

import torch
import torch.nn.functional as F
from torch import Tensor

from acgraph.backends.torch.imitation import logits_of, relative_error
from acgraph.errors import BackendError
from acgraph.tasks import OutputTask

#: Padding of label sequences.
PADDING = -1
#: Label of positions that are ignored: in data sets, and in PyTorch.
_NOT_JUDGED, _IGNORED = 255, -100


def label_loss(task: OutputTask, output: Tensor, y: Tensor) -> Tensor:
    """Return the loss of a batch against its labels, a float32 scalar.

    Args:
        task: Task of the output.
        output: Output of the network.
        y: The labels. Classification: 0 or 1 for each class, or a class for each position;
            segmentation: maps of classes; CTC: ``[N, L]`` padded with -1; other tasks: numbers in
            the shape of the output.

    Raises:
        BackendError: There is no loss on labels for this task.
    """
    if task.kind == "segmentation":
        return _by_position(task, output, y)
    if task.kind == "classification":
        return _by_class(task, output, y)
    if task.kind == "ctc":
        return _by_sequence(task, output, y)
    if task.kind in ("regression", "embedding", "imitate"):
        return relative_error(output, y.reshape(output.shape), task.axis)
    raise BackendError(
        f"labels of {task.kind} can only be evaluated, not trained on",
        hint="give --data without labels, and the data with labels as --eval-data",
    )


def _by_position(task: OutputTask, output: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy at every position; binary cross-entropy if the map has one channel."""
    axis = 1 if task.axis is None else task.axis
    is_judged = (y >= 0) & (y != _NOT_JUDGED)
    if output.shape[axis] > 1:
        logits = logits_of(output, task.form).movedim(axis, 1)
        known = torch.where(is_judged, y, _IGNORED).reshape(len(y), *logits.shape[2:])
        return F.cross_entropy(logits, known, ignore_index=_IGNORED)
    target = (y.reshape(output.shape) > 0).float()
    weight = is_judged.reshape(output.shape).float()
    if task.form == "logits":
        return F.binary_cross_entropy_with_logits(output.float(), target, weight)
    return F.binary_cross_entropy(output.float().clamp(0, 1), target, weight)


def _by_class(task: OutputTask, output: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy with class probabilities or classes, or binary cross-entropy for sigmoids."""
    if y.shape == output.shape and task.form == "sigmoid":
        return F.binary_cross_entropy(output.float().clamp(0, 1), y.float())
    logits = logits_of(output, task.form).movedim(1 if task.axis is None else task.axis, 1)
    if y.shape == output.shape:
        return F.cross_entropy(logits, y.float().movedim(task.axis or 1, 1))
    return F.cross_entropy(logits, y.reshape(len(y), *logits.shape[2:]))


def _by_sequence(task: OutputTask, output: Tensor, y: Tensor) -> Tensor:
    """Connectionist temporal classification (Graves et al., 2006)."""
    logits = logits_of(output, task.form)
    steps = logits if task.batch_axis == 1 else logits.transpose(0, 1)
    lengths = (y != PADDING).sum(dim=1)
    count = torch.full((steps.shape[1],), steps.shape[0], dtype=torch.long)
    blank = task.blank if task.blank is not None else 0
    return F.ctc_loss(
        F.log_softmax(steps, dim=-1), y.clamp_min(0), count, lengths, blank=blank,
        zero_infinity=True,
    )  # fmt: skip
