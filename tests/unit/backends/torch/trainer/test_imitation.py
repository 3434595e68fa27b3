"""What each task's loss sees, against values worked out by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from acgraph.backends.torch.imitation import (
    Imitation,
    binary_divergence,
    measure_scales,
    relative_error,
)
from acgraph.backends.torch.label_loss import label_loss
from acgraph.backends.torch.losses import Loss
from acgraph.backends.training import TrainConfig
from acgraph.errors import BackendError
from acgraph.tasks import OutputTask

GENERATOR = torch.Generator().manual_seed(0)


def randn(*shape):
    return torch.randn(*shape, generator=GENERATOR)


def task(kind, **options):
    return OutputTask(output="out", kind=kind, **options)


def imitate(tasks, mine, other, scaled=True):
    scales = measure_scales(tasks, [tuple(other)]) if scaled else ()
    return Imitation(tasks, scales)(tuple(mine), tuple(other)).item()


def test_every_channel_has_its_own_scale():
    other = randn(30, 3, 4) * torch.tensor([1.0, 100.0, 1e4])[:, None]
    off = other.clone()
    off[:, 0] += 1.0
    expected = (1 / other[:, 0].var(unbiased=False) / 3).item()
    assert imitate([task("imitate", axis=1)], [off], [other]) == pytest.approx(expected, rel=1e-4)
    assert relative_error(off, other).item() == pytest.approx(expected, rel=1e-4)
    assert imitate([task("imitate")], [off], [other]) < 1e-3


def test_scales_are_of_all_batches():
    first, second = torch.zeros(4, 2), torch.full((4, 2), 2.0)
    (scale,) = measure_scales([task("regression", axis=1)], [(first,), (second,)])
    assert scale.variance.tolist() == [1, 1]


def test_landmarks_that_are_all_shifted_are_wrong():
    other = torch.linspace(0.1, 0.9, 20).repeat(50, 1) + 0.02 * randn(50, 20)
    found = imitate([task("regression", axis=1)], [other + 0.5], [other])
    assert found == pytest.approx((0.25 / other.var(0, unbiased=False)).mean().item(), rel=1e-3)


def test_an_embedding_is_a_direction_too():
    other = F.normalize(randn(40, 8), dim=1)
    rest = imitate([task("imitate", axis=1)], [2 * other], [other])
    assert imitate([task("embedding", axis=1)], [2 * other], [other]) == pytest.approx(rest)
    error = imitate([task("imitate", axis=1)], [-other], [other])
    assert imitate([task("embedding", axis=1)], [-other], [other]) == pytest.approx(2 + error)


@pytest.mark.parametrize("kind", ["classification", "segmentation", "ctc"])
def test_classes_of_positions_diverge_along_their_axis(kind):
    other, mine = randn(2, 7, 5), randn(2, 7, 5)
    p, q = other.softmax(2), mine.softmax(2)
    by_hand = (p * (p / q).log()).sum(2).mean().item()
    assert imitate([task(kind, axis=2)], [mine], [other]) == pytest.approx(by_hand, rel=1e-4)
    shares = [task(kind, axis=2, form="softmax")]
    assert imitate(shares, [q], [p]) == pytest.approx(by_hand, rel=1e-3)


def test_sigmoids_diverge_one_by_one():
    mine, other = torch.tensor([0.2, 0.9]), torch.tensor([0.5, 0.9])
    found = binary_divergence(mine, other, is_logits=False)
    by_hand = 0.5 * np.log(0.5 / 0.2) + 0.5 * np.log(0.5 / 0.8)
    assert found.tolist() == pytest.approx([by_hand, 0], abs=1e-6)
    raw = binary_divergence(mine.logit(), other.logit(), is_logits=True)
    assert raw.tolist() == pytest.approx([by_hand, 0], abs=1e-5)


HEAD = task("detection", axis=1, part="head", shape=(2, 6, 40))


def head(score=0.8):
    found = torch.zeros(2, 6, 40)
    found[:, :4] = torch.tensor([100.0, 100, 20, 20])[:, None]
    found[:, 4:] = 0.01
    found[:, :4, 0] = torch.tensor([50.0, 50, 20, 40])
    found[:, 4, 0] = score
    return found


def test_a_lost_detection_costs_as_much_among_many_anchors():
    lost = imitate([HEAD], [head(0.1)], [head()])
    assert lost > 0.5
    assert imitate([HEAD], [head()], [head()]) == pytest.approx(0, abs=1e-6)


def test_boxes_count_where_there_is_something_and_by_their_size():
    assert measure_scales([HEAD], [(head(),)])[0].box_form == "centre"
    elsewhere, here = head(), head()
    elsewhere[:, 0, 7] += 10
    here[:, 0, 0] += 10  # half the width of the box
    nothing, something = (imitate([HEAD], [each], [head()]) for each in (elsewhere, here))
    # One term of a smooth L1 loss out of 4, weighted by the scores, which add up to 1.19 an image.
    assert something == pytest.approx(0.5**2 / 2 / 4 * 0.8 / 1.19, rel=1e-3)
    assert nothing == pytest.approx(something / 80, rel=1e-3)


def test_boxes_and_scores_apart_are_one_term():
    parts = [
        OutputTask(output="boxes", kind="detection", part="boxes", axis=2, shape=(2, 40, 4)),
        OutputTask(output="scores", kind="detection", part="scores", axis=2, shape=(2, 40, 2)),
    ]
    both = head().transpose(1, 2)
    other = [both[..., :4], both[..., 4:]]
    moved = [other[0] + torch.tensor([10.0, 0, 0, 0]), other[1]]
    assert imitate(parts, other, other) == pytest.approx(0, abs=1e-6)
    assert imitate(parts, moved, other) > 0.01
    whole = torch.cat(moved, 2).transpose(1, 2)
    assert imitate([HEAD], [whole], [head()]) == pytest.approx(
        imitate(parts, moved, other), rel=1e-4
    )


def test_other_outputs_are_imitated_beside_labels():
    labels = torch.tensor([0, 1])
    tasks = (task("classification", axis=1), task("regression", axis=1))
    logits, boxes = randn(2, 3), randn(2, 4)
    loss = Loss(TrainConfig(distill_weight=0.5), tasks=tasks)
    same = loss((logits, boxes), labels, (logits, boxes)).item()
    assert same == pytest.approx(0.5 * F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert loss((logits, boxes + 1), labels, (logits, boxes)).item() > same + 0.1


def test_losses_by_labels():
    maps, classes = randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4), generator=GENERATOR)
    found = label_loss(task("segmentation", axis=1), maps, classes)
    assert found.item() == pytest.approx(F.cross_entropy(maps, classes).item())
    some = classes.clone()
    some[0] = 255
    found_of_one = label_loss(task("segmentation", axis=1), maps, some)
    assert found_of_one.item() == pytest.approx(F.cross_entropy(maps[1:], classes[1:]).item())
    last = label_loss(task("segmentation", axis=3), maps.permute(0, 2, 3, 1), classes)
    assert last.item() == pytest.approx(found.item(), rel=1e-5)
    numbers = randn(6, 2)
    assert label_loss(task("regression", axis=1), numbers, numbers).item() == 0
    steps, text = randn(2, 9, 5), torch.tensor([[1, 2, 2], [3, -1, -1]])
    by_hand = F.ctc_loss(
        steps.transpose(0, 1).log_softmax(2), text.clamp_min(0), torch.tensor([9, 9]),
        torch.tensor([3, 1]),
    )  # fmt: skip
    assert label_loss(task("ctc", axis=2), steps, text).item() == pytest.approx(by_hand.item())
    first = label_loss(task("ctc", axis=2, batch_axis=1), steps.transpose(0, 1), text)
    assert first.item() == pytest.approx(by_hand.item())
    with pytest.raises(BackendError, match="can only be evaluated"):
        label_loss(HEAD, head(), text)


def test_gradients_are_finite_for_every_task():
    tasks = [task("classification", axis=1, form="softmax"), task("embedding", axis=1), HEAD,
             task("segmentation", axis=1, form="sigmoid", shape=(2, 1, 4, 4))]  # fmt: skip
    other = (randn(2, 3).softmax(1), randn(2, 8), head(), randn(2, 1, 4, 4).sigmoid())
    mine = tuple(torch.zeros_like(each).requires_grad_() for each in other)
    Imitation(tasks, measure_scales(tasks, [other]))(mine, other).backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in mine)


def test_losses_by_classes_of_other_shapes():
    scores, one_hot = randn(4, 3), F.one_hot(torch.tensor([0, 2, 1, 1]), 3)
    by_number = F.cross_entropy(scores, one_hot.argmax(1)).item()
    plain = task("classification", axis=1)
    assert label_loss(plain, scores, one_hot).item() == pytest.approx(by_number)
    chances = scores.sigmoid()
    found = label_loss(task("classification", axis=1, form="sigmoid"), chances, one_hot)
    assert found.item() == pytest.approx(F.binary_cross_entropy(chances, one_hot.float()).item())
    steps, classes = randn(2, 5, 3), torch.randint(0, 3, (2, 5), generator=GENERATOR)
    found = label_loss(task("classification", axis=2), steps, classes)
    assert found.item() == pytest.approx(
        F.cross_entropy(steps.flatten(0, 1), classes.flatten()).item()
    )


def test_what_an_empty_anchor_would_hold_is_arbitrary():
    yolox = task("detection", axis=2, part="objectness head", shape=(2, 40, 7))
    other = torch.cat([head()[:, :4], head()[:, 4:5], head()[:, 4:]], dim=1).transpose(1, 2)
    mine = other.clone()
    mine[:, 5:, 5:] = 0.9  # classes where there is nothing
    cost = imitate([yolox], [mine], [other])
    mine = other.clone()
    mine[:, 0, 5:] = torch.tensor([0.01, 0.8])  # another class where there is something
    assert imitate([yolox], [mine], [other]) > cost


def test_a_detector_learns_from_its_teacher_even_with_labels():
    loss = Loss(TrainConfig(distill_weight=0.0), tasks=(HEAD,))
    boxes = torch.zeros(2, 1, 5)
    assert loss((head(),), boxes, (head(),)).item() == pytest.approx(0, abs=1e-6)
    assert loss((head(0.1),), boxes, (head(),)).item() > 0.5
