import pytest
import torch
import torch.nn.functional as F

from acgraph.backends.torch.losses import Loss, Mix, ends_in_softmax
from acgraph.backends.training import TrainConfig

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = torch.randn(5, 4, generator=GENERATOR)
TEACHER = torch.randn(5, 4, generator=GENERATOR) * 3
LABELS = torch.tensor([0, 1, 2, 3, 0])


def loss_of(outputs=(STUDENT,), y=LABELS, teacher=None, mix=None, prob=False, **options):
    return Loss(TrainConfig(**options), prob)(outputs, y, teacher, mix).item()


def test_labels_alone():
    by_hand = -sum(STUDENT.log_softmax(1)[i, y].item() for i, y in enumerate(LABELS)) / 5
    assert loss_of() == pytest.approx(by_hand, rel=1e-5)


def test_label_smoothing():
    log_p = STUDENT.log_softmax(1)
    target = 0.8 * F.one_hot(LABELS, 4) + 0.2 / 4
    assert loss_of(label_smoothing=0.2) == pytest.approx(
        -(target * log_p).sum(1).mean().item(), rel=1e-5
    )


def test_mixup_pairs_the_labels():
    partner = torch.tensor([1, 2, 3, 4, 0])
    mixed = loss_of(mix=Mix(share=0.3, labels=LABELS[partner]))
    assert mixed == pytest.approx(0.3 * loss_of() + 0.7 * loss_of(y=LABELS[partner]), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation(temperature):
    p = (TEACHER / temperature).softmax(1)
    q = (STUDENT / temperature).softmax(1)
    divergence = temperature**2 * (p * (p / q).log()).sum(1).mean().item()
    options = {"distill_weight": 0.7, "distill_temperature": temperature}
    assert loss_of(teacher=(TEACHER,), **options) == pytest.approx(
        0.7 * divergence + 0.3 * loss_of(), rel=1e-4
    )
    assert loss_of(y=None, teacher=(TEACHER,), **options) == pytest.approx(divergence, rel=1e-4)


def test_a_network_that_ends_in_softmax_is_treated_as_its_logits():
    options = {"teacher": (TEACHER.softmax(1),), "prob": True}
    assert loss_of((STUDENT.softmax(1),), **options) == pytest.approx(
        loss_of(teacher=(TEACHER,)), rel=1e-3
    )


def test_softmax_is_found(make):
    assert ends_in_softmax(make.conv(softmax=True))
    assert not ends_in_softmax(make.conv())


def test_outputs_of_any_shape_are_imitated():
    boxes = torch.randn(2, 7, 4, generator=GENERATOR)
    off = boxes + 0.1
    assert loss_of((boxes, boxes), None, (boxes, boxes)) == 0
    one = loss_of((off,), None, (boxes,))
    assert one == pytest.approx(0.01 / boxes.var(unbiased=False).item(), rel=1e-4)
    assert loss_of((off, off), None, (boxes, boxes)) == pytest.approx(2 * one, rel=1e-5)


def test_neither_labels_nor_teacher():
    with pytest.raises(ValueError, match="neither"):
        loss_of(y=None)
