"""What is wrong with what a trainer was given, said before any training."""

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
    """Check that options do not contradict each other.

    Raises:
        UsageError: they do.
    """
    if has_own_loss and (config.mixup > 0 or config.label_smoothing > 0):
        raise UsageError(
            "mixup and label_smoothing do not go together with a loss of your own",
            hint="switch them off",
        )
    if has_own_loss and config.feature_weight > 0:
        raise UsageError(
            "feature_weight does not go together with a loss of your own", hint="leave it at 0"
        )
    if train is not None and config.mixup > 0 and not _can_mix(train):
        raise UsageError(
            "mixup needs floats, and an input of the model takes integers", hint="leave mixup at 0"
        )
    if train is not None and config.cache_teacher and train.groups is not None:
        raise UsageError(
            "cache_teacher keeps outputs of one size, and the examples have several",
            hint="leave cache_teacher off",
        )
    if config.cache_teacher and config.feature_weight > 0:
        raise UsageError(
            "cache_teacher keeps the outputs of the teacher, not the features of feature_weight",
            hint="leave one of them out",
        )
    if train is None or not config.cache_teacher:
        return
    if is_augmented(train, config) or config.mixup > 0:
        raise UsageError(
            "cache_teacher needs images that stay the same", hint="switch augment and mixup off"
        )


def _can_mix(train: Dataset) -> bool:
    return all(value.dtype.kind == "f" for value in first_example(train).inputs.values())


def check_operators(model: Model) -> None:
    """Check that every operator of a model can be trained through.

    Raises:
        UnsupportedOpError: some cannot, or not in their form: all of them are named.
    """
    Program(clone_model(model))


def check_weights(module: GraphModule, model: Model) -> None:
    """Check that every trainable constant and running statistic is finite.

    Raises:
        BackendError: one is not; named with the node that reads it.
    """
    for name, value in module.weights().items():
        bad = np.flatnonzero(~np.isfinite(value.ravel()))
        if bad.size == 0:
            continue
        readers = (n for n in model.graph.nodes if any(t.name == name for t in n.inputs))
        node = next(readers, None)
        where = model.location(node) if node is not None else Location(model=model.source)
        raise BackendError(
            f"weight '{name}' holds {value.ravel()[bad[0]]} ({bad.size} of {value.size} elements)",
            location=where,
            hint="export the model again from a state before training broke off",
        )


def check_outputs(
    train: Dataset, run: Callable[[Batch], Tensor], source: str, *, has_teacher: bool
) -> None:
    """Run one image and check that labels, or their absence, fit the first output.

    Args:
        train: Training images.
        run: Gives the first output for a batch.
        source: Name of the model, for messages.
        has_teacher: Whether there is something to learn from without labels.

    Raises:
        BackendError: nothing to learn from, or labels of what is no classifier.
        DataError: a label that the network has no output for.
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
        return  # the loss of the task sees whether they fit
    first = run(first_example(train))
    if first.ndim != 2:
        raise BackendError(
            f"the first output is {list(first.shape)}, not [N, classes], but data has labels",
            location=Location(model=source),
            hint="give data without labels to learn from the original model, or a loss",
        )
    check_label_range(labels, first.shape[1], Location(model=train.name))


def check_numbers(epochs: float, learning_rate: float | None, time_budget_s: float | None) -> None:
    """Check the numbers of a fit.

    Raises:
        UsageError: one that cannot be meant.
    """
    for what, value in (("learning_rate", learning_rate), ("time_budget_s", time_budget_s)):
        if value is not None and not 0 < value < np.inf:
            raise UsageError(f"{what} is {value}", hint="give a positive number")
    if not 0 <= epochs < np.inf:
        raise UsageError(f"epochs is {epochs}", hint="give a number of at least 0")


def check_team(others: Team, train: Dataset, config: TrainConfig, *, has_own_loss: bool) -> None:
    """Check that several processes can share the work; one always can.

    Raises:
        UsageError: they cannot.
    """
    if others.size == 1:
        return
    if not others.is_leader:
        raise UsageError(
            f"process {others.rank} trains on its own", hint="let it follow the first process"
        )
    if has_own_loss:
        raise UsageError("a loss of your own cannot be told to other processes", hint="use one")
    smallest = len(train) // steps_per_pass(len(train), config.batch_size)
    if smallest < others.size:
        raise UsageError(
            f"a batch of {smallest} images cannot be shared by {others.size} processes",
            hint="raise train.batch_size, or start fewer processes",
        )
