"""Check the arguments of a trainer before training starts."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.loader import is_augmented
from acgraph.backends.torch.program import Program
from acgraph.backends.torch.team import Team
from acgraph.backends.training import TrainConfig, steps_per_pass
from acgraph.data import Batch, Dataset, are_class_numbers, check_label_range, first_example
from acgraph.diagnostics import Location
from acgraph.errors import BackendError, UsageError
from acgraph.ir import Model, clone_model


def check_options(config: TrainConfig, train: Dataset | None, *, has_own_loss: bool) -> None:
    """Check that the options do not contradict each other, and that they suit the data.

    Raises:
        UsageError: Two options cannot be combined, or one does not suit the data.
    """
    if has_own_loss and (config.mixup > 0 or config.label_smoothing > 0):
        raise UsageError(
            "mixup and label_smoothing cannot be combined with a custom loss",
            hint="set both to 0",
        )
    if has_own_loss and config.feature_weight > 0:
        raise UsageError(
            "feature_weight cannot be combined with a custom loss", hint="leave it at 0"
        )
    if train is not None and config.mixup > 0 and not _can_mix(train):
        raise UsageError(
            "mixup requires float inputs, but the model has an integer input",
            hint="leave mixup at 0",
        )
    if train is not None and config.cache_teacher and train.groups is not None:
        raise UsageError(
            "cache_teacher requires examples of one size, but the data has several sizes",
            hint="switch cache_teacher off",
        )
    if config.cache_teacher and config.feature_weight > 0:
        raise UsageError(
            "cache_teacher caches the teacher's outputs, not the features of feature_weight",
            hint="use only one of the two",
        )
    if train is None or not config.cache_teacher:
        return
    if is_augmented(train, config) or config.mixup > 0:
        raise UsageError(
            "cache_teacher requires the same images in each epoch",
            hint="switch augment and mixup off",
        )


def _can_mix(train: Dataset) -> bool:
    return all(value.dtype.kind == "f" for value in first_example(train).inputs.values())


def check_operators(model: Model) -> None:
    """Check that there is a training kernel for every operator of a model.

    Raises:
        UnsupportedOpError: Operators, or their attributes, are not supported; it names all of
            them.
    """
    Program(clone_model(model))


def check_weights(module: GraphModule, model: Model) -> None:
    """Check that every trainable constant and running statistic is finite.

    Raises:
        BackendError: A value is NaN or infinite; the error names a node that reads it.
    """
    for name, value in module.weights().items():
        bad = np.flatnonzero(~np.isfinite(value.ravel()))
        if bad.size == 0:
            continue
        readers = (n for n in model.graph.nodes if any(t.name == name for t in n.inputs))
        node = next(readers, None)
        where = model.location(node) if node is not None else Location(model=model.source)
        raise BackendError(
            f"weight '{name}' contains {value.ravel()[bad[0]]} in {bad.size} of {value.size} "
            "elements",
            location=where,
            hint="export the model from an earlier checkpoint, whose weights are finite",
        )


def check_outputs(
    train: Dataset, run: Callable[[Batch], Tensor], source: str, *, has_teacher: bool
) -> None:
    """Run one image and check that the labels fit the first output.

    Args:
        train: Training images.
        run: Computes the first output for a batch.
        source: Name of the model, for messages.
        has_teacher: Whether there is a teacher, which is required if there are no labels.

    Raises:
        BackendError: There are neither labels nor a teacher, or class labels but no classifier.
        DataError: A label exceeds the number of classes.
    """
    labels = train.labels
    if labels is None:
        if has_teacher:
            return
        raise BackendError(
            "neither labels nor a teacher to learn from",
            location=Location(model=train.name),
            hint="give labels, or the original model as the teacher",
        )
    if not are_class_numbers(labels):
        return  # the loss of the task checks the shape of other labels
    first = run(first_example(train))
    if first.ndim != 2:
        raise BackendError(
            f"the data has class labels, but the first output has shape {list(first.shape)}, "
            "not [N, classes]",
            location=Location(model=source),
            hint="give data without labels to distil the original model, or give a loss",
        )
    check_label_range(labels, first.shape[1], Location(model=train.name))


def check_numbers(epochs: float, learning_rate: float | None, time_budget_s: float | None) -> None:
    """Check the numeric arguments of a fit.

    Raises:
        UsageError: A number is out of range.
    """
    for what, value in (("learning_rate", learning_rate), ("time_budget_s", time_budget_s)):
        if value is not None and not 0 < value < np.inf:
            raise UsageError(f"{what} is {value}", hint="give a positive number")
    if not 0 <= epochs < np.inf:
        raise UsageError(f"epochs is {epochs}", hint="give a number of at least 0")


def check_team(team: Team, train: Dataset, config: TrainConfig, *, has_own_loss: bool) -> None:
    """Check that the processes can share the training, if there are several.

    Raises:
        UsageError: This process does not lead, there is a custom loss, or the batch is too small.
    """
    if team.size == 1:
        return
    if not team.is_leader:
        raise UsageError(
            f"process {team.rank} is not the leader and cannot start a fit",
            hint="call follow() in all processes except the first",
        )
    if has_own_loss:
        raise UsageError(
            "a custom loss cannot be sent to other processes", hint="start a single process"
        )
    smallest = len(train) // steps_per_pass(len(train), config.batch_size)
    if smallest < team.size:
        raise UsageError(
            f"a batch of {smallest} images is too small for {team.size} processes",
            hint="raise train.batch_size, or start fewer processes",
        )
