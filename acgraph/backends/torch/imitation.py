"""Distillation losses: the difference of a network's outputs from the teacher's, by task."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acgraph.tasks import ChannelErrors, OutputTask, groups
from acgraph.tasks.boxes import BoxForm
from acgraph.tasks.detections import DetectionsKept
from acgraph.tasks.kinds import Form, Kind

Outputs = tuple[Tensor, ...]

#: Tasks whose errors are divided by the variance of the teacher's output.
SCALED: frozenset[Kind] = frozenset(["detection", "embedding", "imitate", "regression"])
#: Lower bound of a softmax probability before its logarithm is taken.
_MIN_PROBABILITY = 1e-12
#: Smallest distance of a sigmoid from 0 and 1 before its logarithm is taken.
_MIN_SIGMOID = 1e-7
#: Lower bound of the sides of a box, as a share of the standard deviation of its coordinates.
_MIN_SIDE = 0.02


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale by which errors of an output are divided.

    Attributes:
        variance: Variance of the teacher's output, ``float32 [channels]``, or a scalar if the
            channel axis is not known.
        box_form: Encoding of boxes, for outputs of a detector.
    """

    variance: Tensor
    box_form: BoxForm = "encoded"


def measure_scales(tasks: Sequence[OutputTask], batches: Iterable[Outputs]) -> tuple[Scale, ...]:
    """Measure the variance of the teacher's outputs on some batches.

    Args:
        tasks: Task of each output.
        batches: Outputs of the teacher.
    """
    spreads = [ChannelErrors(task.axis) for task in tasks]
    detectors = {
        places: DetectionsKept([tasks[place] for place in places])
        for places in groups(tasks)
        if tasks[places[0]].kind == "detection" and any(tasks[p].part != "boxes" for p in places)
    }
    for outputs in batches:
        arrays = [output.detach().float().cpu().numpy() for output in outputs]
        for spread, array in zip(spreads, arrays, strict=True):
            spread.add(array, array)
        for places, found in detectors.items():
            found.learn([arrays[place] for place in places])
    forms: dict[int, BoxForm] = {
        place: found.form for places, found in detectors.items() for place in places
    }
    return tuple(
        Scale(torch.from_numpy(np.asarray(spread.scale(), np.float32)), forms.get(place, "encoded"))
        for place, spread in enumerate(spreads)
    )


def logits_of(output: Tensor, form: Form | bool) -> Tensor:
    """Return logits in float32; for probabilities their logarithm, whose softmax is the same."""
    output = output.float()
    return output.clamp_min(_MIN_PROBABILITY).log() if form in ("softmax", True) else output


def divergence(student: Tensor, teacher: Tensor, axis: int, temperature: float = 1.0) -> Tensor:
    """Return ``T^2 * KL(teacher/T, student/T)`` of logits, averaged over all positions."""
    output = F.log_softmax(student.movedim(axis, -1).flatten(0, -2) / temperature, dim=1)
    target = F.log_softmax(teacher.movedim(axis, -1).flatten(0, -2) / temperature, dim=1)
    return temperature**2 * F.kl_div(output, target, reduction="batchmean", log_target=True)


def binary_divergence(output: Tensor, target: Tensor, is_logits: bool) -> Tensor:
    """Return the elementwise KL divergence of sigmoid outputs from those of the teacher.

    Args:
        output: Output of the network, of any shape.
        target: Output of the teacher, of the same shape.
        is_logits: Whether both are logits; otherwise they are probabilities.
    """
    output, target = output.float(), target.float()
    if is_logits:
        probability = target.sigmoid()
        cross = F.binary_cross_entropy_with_logits(output, probability, reduction="none")
        return cross - F.binary_cross_entropy_with_logits(target, probability, reduction="none")
    output, target = (each.clamp(_MIN_SIGMOID, 1 - _MIN_SIGMOID) for each in (output, target))
    return target * (target / output).log() + (1 - target) * ((1 - target) / (1 - output)).log()


def relative_error(
    output: Tensor, target: Tensor, axis: int | None = 1, variance: Tensor | None = None
) -> Tensor:
    """Return the mean squared error divided by the target's variance, averaged over channels.

    Args:
        output: Output of the network.
        target: Output of the teacher, or labels.
        axis: Channel axis; None treats all elements as one channel.
        variance: Variance of each channel; None computes it from the batch.
    """
    errors = _by_channel((output.float() - target.float()).square(), axis).mean(dim=1)
    if variance is None:
        spread = ChannelErrors(None if axis is None or target.ndim < 2 else axis)
        spread.add(values := target.detach().float().cpu().numpy(), values)
        variance = torch.from_numpy(np.asarray(spread.scale(), np.float32))
    return (errors / variance.to(errors.device)).mean()


def _by_channel(values: Tensor, axis: int | None) -> Tensor:
    if axis is None or values.ndim < 2:
        return values.reshape(1, -1)
    return values.movedim(axis, 0).flatten(1)


def _direction_error(output: Tensor, target: Tensor, axis: int) -> Tensor:
    return (1 - F.cosine_similarity(output.float(), target.float(), dim=axis)).mean()


@dataclass(frozen=True, slots=True)
class Imitation:
    """The distillation loss: a sum of terms, one for each output or each detector head.

    Attributes:
        tasks: Task of each output.
        scales: Scale of the errors of each output; if empty, it is computed for each batch.
        temperature: Temperature of the divergence for classification of whole examples.
    """

    tasks: Sequence[OutputTask]
    scales: Sequence[Scale] = ()
    temperature: float = 1.0

    def __call__(
        self, outputs: Outputs, teacher: Outputs, *, leave_out: frozenset[int] = frozenset()
    ) -> Tensor:
        """Return the sum of the terms, a float32 scalar.

        Args:
            outputs: Outputs of the network.
            teacher: Outputs of the teacher.
            leave_out: Indices of outputs that are skipped.
        """
        loss = outputs[0].new_zeros((), dtype=torch.float32)
        for places in groups(self.tasks):
            if leave_out.isdisjoint(places) and outputs[places[0]].is_floating_point():
                loss = loss + self._term(places, outputs, teacher)
        return loss

    def _term(self, places: tuple[int, ...], outputs: Outputs, teacher: Outputs) -> Tensor:
        task = self.tasks[places[0]]
        output, target = outputs[places[0]], teacher[places[0]]
        scale = self.scales[places[0]] if self.scales else None
        variance = None if scale is None else scale.variance
        axis = task.axis
        if task.kind in ("classification", "segmentation", "ctc"):
            return self._class_term(task, output, target)
        if task.kind == "detection" and any(self.tasks[p].part != "boxes" for p in places):
            return self._detector_term(places, outputs, teacher)
        error = relative_error(output, target, axis, variance)
        if task.kind == "embedding":
            error = error + _direction_error(output, target, -1 if axis is None else axis)
        return error

    def _class_term(self, task: OutputTask, output: Tensor, target: Tensor) -> Tensor:
        axis = (
            task.axis if task.axis is not None else (1 if task.kind != "ctc" else output.ndim - 1)
        )
        is_single = output.ndim <= axis or output.shape[axis] < 2
        if task.form == "sigmoid" or is_single:
            return binary_divergence(output, target, is_logits=task.form == "logits").mean()
        is_of_examples = task.kind == "classification" and output.ndim == 2
        return divergence(
            logits_of(output, task.form), logits_of(target, task.form), axis,
            self.temperature if is_of_examples else 1.0,
        )  # fmt: skip

    def _detector_term(self, places: tuple[int, ...], outputs: Outputs, teacher: Outputs) -> Tensor:
        """Divergence of the scores, plus the box error weighted with the teacher's objectness."""
        term = outputs[places[0]].new_zeros((), dtype=torch.float32)
        objectness: Tensor | None = None
        boxes: list[tuple[Tensor, Tensor, int]] = []
        for place in places:
            task = self.tasks[place]
            output, target = (_by_anchor(each[place], task.axis) for each in (outputs, teacher))
            if task.part != "scores":
                boxes.append((output[..., :4], target[..., :4], place))
            if task.part == "boxes":
                continue
            first = 0 if task.part == "scores" else 4
            last = first + 1 if task.part == "final" else output.shape[-1]
            parts = (output[..., first:last].float(), target[..., first:last].float())
            found, loss = _score_error(task, *parts)
            term = term + loss
            objectness = found if objectness is None else torch.maximum(objectness, found)
        for output, target, place in boxes:
            term = term + self._box_error(output.float(), target.float(), objectness, place)
        return term

    def _box_error(
        self, output: Tensor, target: Tensor, objectness: Tensor | None, place: int
    ) -> Tensor:
        scale = self.scales[place] if self.scales else None
        size = _box_scale(target, scale)
        errors = F.smooth_l1_loss(output / size, target / size, reduction="none").mean(dim=-1)
        if objectness is None:
            return errors.mean()
        return (errors * objectness).sum() / objectness.sum().clamp_min(1.0)


def _by_anchor(output: Tensor, axis: int | None) -> Tensor:
    """Reshape an output to ``[N, anchors, columns]``; ``[N, anchors]`` has a single column."""
    if output.ndim == 2:
        return output.unsqueeze(-1)
    last = output.ndim - 1 if axis is None else axis
    return output.movedim(last, -1).flatten(1, -2)


def _score_error(task: OutputTask, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the teacher's objectness of each anchor, ``[N, anchors]``, and the score divergence.

    The divergence is summed over anchors and divided by the total objectness, because in a mean
    the many empty anchors would outweigh those with objects.
    """
    low, high = float(target.min()), float(target.max())
    is_logits = low < 0 or high > 1
    chance = target.sigmoid() if is_logits else target
    columns = chance.shape[-1]
    if task.form == "softmax" and columns > 1:
        common = int(chance.mean(dim=(0, 1)).argmax())
        objectness = 1 - chance[..., common]
    elif task.part == "objectness head" and columns > 1:
        objectness = chance[..., 0] * chance[..., 1:].amax(dim=-1)
    else:
        objectness = chance.amax(dim=-1)
    losses = binary_divergence(output, target, is_logits)
    if task.part == "objectness head" and columns > 1:
        # The class scores of an empty anchor are arbitrary.
        losses = torch.cat([losses[..., :1], chance[..., :1] * losses[..., 1:]], dim=-1)
    total = losses.sum()
    return objectness, total / objectness.sum().clamp_min(1.0)


def _box_scale(target: Tensor, scale: Scale | None) -> Tensor:
    """Return the scale of box errors: the sides of the box, or the deviation of each coordinate."""
    spread = target.flatten(0, 1).std(dim=0) if scale is None else scale.variance[:4].sqrt()
    spread = spread.to(target.device).clamp_min(1e-6)
    form = "encoded" if scale is None else scale.box_form
    if form == "encoded":
        return spread.expand_as(target)
    sides = target[..., 2:] if form == "centre" else target[..., 2:] - target[..., :2]
    sides = torch.maximum(sides.abs(), _MIN_SIDE * spread[:2].clamp_min(1e-6))
    return torch.cat([sides, sides], dim=-1)


__all__ = [
    "SCALED", "Imitation", "Outputs", "Scale", "binary_divergence", "divergence", "logits_of",
    "measure_scales", "relative_error",
]  # fmt: skip
