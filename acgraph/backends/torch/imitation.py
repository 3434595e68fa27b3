"""How far outputs of a network are from the teacher's: a term for each task, 0 where equal."""

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

#: Tasks whose errors are divided by the spread of the teacher's output.
SCALED: frozenset[Kind] = frozenset(["detection", "embedding", "imitate", "regression"])
#: Probabilities are no nearer to 0 and 1 than this before their logarithm is taken.
_MIN_PROBABILITY = 1e-12
#: Of a sigmoid, which has a way to both ends.
_MIN_SIGMOID = 1e-7
#: Sides of boxes are taken for at least this share of the spread of all.
_MIN_SIDE = 0.02


@dataclass(frozen=True, slots=True)
class Scale:
    """What errors of an output are divided by.

    Attributes:
        variance: Of the teacher's output, for each channel; one number where no axis is known.
        box_form: How boxes are written, for outputs of a detector.
    """

    variance: Tensor
    box_form: BoxForm = "encoded"


def measure_scales(tasks: Sequence[OutputTask], batches: Iterable[Outputs]) -> tuple[Scale, ...]:
    """Measure the spread of the teacher's outputs on some batches.

    Args:
        tasks: Of the outputs.
        batches: What the teacher makes of each.
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
    """Return logits in float32; the logarithm of probabilities serves, as softmax undoes it."""
    output = output.float()
    return output.clamp_min(_MIN_PROBABILITY).log() if form in ("softmax", True) else output


def divergence(student: Tensor, teacher: Tensor, axis: int, temperature: float = 1.0) -> Tensor:
    """Return ``T^2 * KL(teacher/T, student/T)`` of logits, the mean over all positions."""
    mine = F.log_softmax(student.movedim(axis, -1).flatten(0, -2) / temperature, dim=1)
    other = F.log_softmax(teacher.movedim(axis, -1).flatten(0, -2) / temperature, dim=1)
    return temperature**2 * F.kl_div(mine, other, reduction="batchmean", log_target=True)


def binary_divergence(mine: Tensor, other: Tensor, is_raw: bool) -> Tensor:
    """Return the KL divergence of each sigmoid from the teacher's, element by element."""
    mine, other = mine.float(), other.float()
    if is_raw:
        target = other.sigmoid()
        cross = F.binary_cross_entropy_with_logits(mine, target, reduction="none")
        return cross - F.binary_cross_entropy_with_logits(other, target, reduction="none")
    mine, other = (each.clamp(_MIN_SIGMOID, 1 - _MIN_SIGMOID) for each in (mine, other))
    return other * (other / mine).log() + (1 - other) * ((1 - other) / (1 - mine)).log()


def relative_error(
    mine: Tensor, other: Tensor, axis: int | None = 1, variance: Tensor | None = None
) -> Tensor:
    """Return the squared error over the variance of the teacher, the mean over channels.

    Args:
        mine: Of the network.
        other: Of the teacher.
        axis: Where the channels lie; None takes all as one.
        variance: Of every channel; that of the batch where it is not given.
    """
    errors = _by_channel((mine.float() - other.float()).square(), axis).mean(dim=1)
    if variance is None:
        spread = ChannelErrors(None if axis is None or other.ndim < 2 else axis)
        spread.add(values := other.detach().float().cpu().numpy(), values)
        variance = torch.from_numpy(np.asarray(spread.scale(), np.float32))
    return (errors / variance.to(errors.device)).mean()


def _by_channel(values: Tensor, axis: int | None) -> Tensor:
    if axis is None or values.ndim < 2:
        return values.reshape(1, -1)
    return values.movedim(axis, 0).flatten(1)


def _direction_error(mine: Tensor, other: Tensor, axis: int) -> Tensor:
    return (1 - F.cosine_similarity(mine.float(), other.float(), dim=axis)).mean()


@dataclass(frozen=True, slots=True)
class Imitation:
    """The difference of all outputs: the sum of a term for each, or for each detector.

    Attributes:
        tasks: Of the outputs.
        scales: Likewise; those of each batch where there are none.
        temperature: Of the divergence of classes of examples.
    """

    tasks: Sequence[OutputTask]
    scales: Sequence[Scale] = ()
    temperature: float = 1.0

    def __call__(
        self, outputs: Outputs, teacher: Outputs, *, leave_out: frozenset[int] = frozenset()
    ) -> Tensor:
        """Return the sum over outputs, a float32 scalar.

        Args:
            outputs: Of the network.
            teacher: Of the teacher.
            leave_out: Places of outputs that others look after.
        """
        loss = outputs[0].new_zeros((), dtype=torch.float32)
        for places in groups(self.tasks):
            if leave_out.isdisjoint(places) and outputs[places[0]].is_floating_point():
                loss = loss + self._term(places, outputs, teacher)
        return loss

    def _term(self, places: tuple[int, ...], outputs: Outputs, teacher: Outputs) -> Tensor:
        task = self.tasks[places[0]]
        mine, other = outputs[places[0]], teacher[places[0]]
        scale = self.scales[places[0]] if self.scales else None
        variance = None if scale is None else scale.variance
        axis = task.axis
        if task.kind in ("classification", "segmentation", "ctc"):
            return self._class_term(task, mine, other)
        if task.kind == "detection" and any(self.tasks[p].part != "boxes" for p in places):
            return self._detector_term(places, outputs, teacher)
        error = relative_error(mine, other, axis, variance)
        if task.kind == "embedding":
            error = error + _direction_error(mine, other, -1 if axis is None else axis)
        return error

    def _class_term(self, task: OutputTask, mine: Tensor, other: Tensor) -> Tensor:
        axis = task.axis if task.axis is not None else (1 if task.kind != "ctc" else mine.ndim - 1)
        is_single = mine.ndim <= axis or mine.shape[axis] < 2
        if task.form == "sigmoid" or is_single:
            return binary_divergence(mine, other, is_raw=task.form == "logits").mean()
        is_of_examples = task.kind == "classification" and mine.ndim == 2
        return divergence(
            logits_of(mine, task.form), logits_of(other, task.form), axis,
            self.temperature if is_of_examples else 1.0,
        )  # fmt: skip

    def _detector_term(self, places: tuple[int, ...], outputs: Outputs, teacher: Outputs) -> Tensor:
        """Scores by their divergence, boxes by their error where the teacher sees something."""
        term = outputs[places[0]].new_zeros((), dtype=torch.float32)
        seen: Tensor | None = None
        boxes: list[tuple[Tensor, Tensor, int]] = []
        for place in places:
            task = self.tasks[place]
            mine, other = (_by_anchor(each[place], task.axis) for each in (outputs, teacher))
            if task.part != "scores":
                boxes.append((mine[..., :4], other[..., :4], place))
            if task.part == "boxes":
                continue
            first = 0 if task.part == "scores" else 4
            last = first + 1 if task.part == "final" else mine.shape[-1]
            parts = (mine[..., first:last].float(), other[..., first:last].float())
            shown, loss = _score_error(task, *parts)
            term = term + loss
            seen = shown if seen is None else torch.maximum(seen, shown)
        for mine, other, place in boxes:
            term = term + self._box_error(mine.float(), other.float(), seen, place)
        return term

    def _box_error(self, mine: Tensor, other: Tensor, seen: Tensor | None, place: int) -> Tensor:
        scale = self.scales[place] if self.scales else None
        size = _box_scale(other, scale)
        errors = F.smooth_l1_loss(mine / size, other / size, reduction="none").mean(dim=-1)
        if seen is None:
            return errors.mean()
        return (errors * seen).sum() / seen.sum().clamp_min(1.0)


def _by_anchor(output: Tensor, axis: int | None) -> Tensor:
    """Lay an output out as ``[N, anchors, columns]``; ``[N, anchors]`` is a single column."""
    if output.ndim == 2:
        return output.unsqueeze(-1)
    last = output.ndim - 1 if axis is None else axis
    return output.movedim(last, -1).flatten(1, -2)


def _score_error(task: OutputTask, mine: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much the teacher sees at each anchor, ``[N, anchors]``, and the divergence.

    The divergence is a sum over anchors for each object that the teacher sees: nearly all anchors
    are empty, and would drown the others in a mean.
    """
    low, high = float(other.min()), float(other.max())
    is_raw = low < 0 or high > 1
    chance = other.sigmoid() if is_raw else other
    columns = chance.shape[-1]
    if task.form == "softmax" and columns > 1:
        common = int(chance.mean(dim=(0, 1)).argmax())
        shown = 1 - chance[..., common]
    elif task.part == "objectness head" and columns > 1:
        shown = chance[..., 0] * chance[..., 1:].amax(dim=-1)
    else:
        shown = chance.amax(dim=-1)
    losses = binary_divergence(mine, other, is_raw)
    if task.part == "objectness head" and columns > 1:
        # What class an anchor would have that holds nothing is arbitrary.
        losses = torch.cat([losses[..., :1], chance[..., :1] * losses[..., 1:]], dim=-1)
    total = losses.sum()
    return shown, total / shown.sum().clamp_min(1.0)


def _box_scale(other: Tensor, scale: Scale | None) -> Tensor:
    """Return what errors of boxes are divided by: their own sides, or the spread of each number."""
    spread = other.flatten(0, 1).std(dim=0) if scale is None else scale.variance[:4].sqrt()
    spread = spread.to(other.device).clamp_min(1e-6)
    form = "encoded" if scale is None else scale.box_form
    if form == "encoded":
        return spread.expand_as(other)
    sides = other[..., 2:] if form == "centre" else other[..., 2:] - other[..., :2]
    sides = torch.maximum(sides.abs(), _MIN_SIDE * spread[:2].clamp_min(1e-6))
    return torch.cat([sides, sides], dim=-1)


__all__ = [
    "SCALED", "Imitation", "Outputs", "Scale", "binary_divergence", "divergence", "logits_of",
    "measure_scales", "relative_error",
]  # fmt: skip
