"""Open the data of a run, and split it into training, selection and report data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acgraph.analysis.batch.inputs import batch_axes
from acgraph.analysis.outputs import output_facts
from acgraph.backends.ort.bounds import integer_bounds
from acgraph.config import CompressConfig
from acgraph.data import (
    Dataset,
    Subset,
    are_class_numbers,
    check_has_classes,
    check_label_range,
    first_example,
    load_dataset,
)
from acgraph.data.checks import InputSpec
from acgraph.data.files import is_array_file
from acgraph.data.generated import is_generated_spec
from acgraph.data.selection import selected_rows
from acgraph.diagnostics import Location, counted
from acgraph.errors import UsageError
from acgraph.ir import Model, infer_facts, input_sizes, resolve_sizes
from acgraph.ir.sizes import declared_inputs, state
from acgraph.report import Measure
from acgraph.tasks import OutputTask

#: Share of the training data that is held out if there is no evaluation data.
HELD_OUT = 0.2


@dataclass(frozen=True, slots=True)
class RunData:
    """The data of a run in three disjoint splits.

    Attributes:
        train: The training split.
        select: The selection split, by which the search, purification and all other choices are
            made.
        report: The report split, which is used for the reported figures only.
        tasks: The task of each output of the network.
        has_own_score: Whether networks are scored by a function of the user.
    """

    train: Dataset
    select: Dataset
    report: Dataset
    tasks: tuple[OutputTask, ...] = ()
    has_own_score: bool = False

    @property
    def measure(self) -> Measure:
        """How models are scored: by accuracy if there are usable labels, else by agreement."""
        if self.has_own_score:
            return "own score"
        if self.report.labels is None:
            return "agreement"
        is_classes = not self.tasks or self.tasks[0].kind == "classification"
        return "accuracy" if is_classes else "score"


def open_data(
    config: CompressConfig, model: Model, improve: Callable[[Dataset], Dataset] | None = None
) -> RunData:
    """Open the data that a configuration names.

    Evaluation data is divided alternately into the selection and the report split.

    Args:
        config: The options.
        model: The model, whose input sizes are resolved in place.
        improve: Replaces the training data before it is split, if it is given.

    Raises:
        UsageError: There is too little data, or training and evaluation data are the same.
        DataError: The data does not fit the model.
    """
    if config.eval_data is not None and _shares_examples(config.data, config.eval_data):
        raise UsageError(
            f"--eval-data contains examples of --data {config.data}, so that accuracy "
            "would be measured on training examples",
            location=Location(model=config.eval_data),
            hint="use other evaluation data, or omit --eval-data to hold out a part of --data",
        )
    opened = _opened(config, model)
    train = opened[config.data]
    if improve is not None:
        train = improve(train)
    if config.eval_data is not None:
        held_out = opened[config.eval_data]
    else:
        order = np.random.default_rng(config.seed).permutation(len(train))
        count = max(2, int(HELD_OUT * len(train)))
        held_out = Subset(train, np.sort(order[:count]))
        train = Subset(train, np.sort(order[count:]))
    if len(held_out) < 2 or len(train) < 1:
        raise _too_little(config, len(held_out), len(train))
    return RunData(
        train=train,
        select=Subset(held_out, np.arange(0, len(held_out), 2)),
        report=Subset(held_out, np.arange(1, len(held_out), 2)),
    )


def _too_little(config: CompressConfig, held_out: int, train: int) -> UsageError:
    if config.eval_data is not None:
        return UsageError(
            f"too little evaluation data: {counted(held_out, 'example')}, but one half selects the "
            "network and the other half is reported",
            location=Location(model=config.eval_data),
            hint="give at least 2 examples",
        )
    return UsageError(
        f"too little data: 2 of {held_out + train} examples are held out for evaluation, which "
        "leaves none for training",
        location=Location(model=config.data),
        hint="give more examples, or give --eval-data",
    )


def _shares_examples(first: str, second: str) -> bool:
    """Return whether two data specifications name the same examples; copies are not detected."""
    if is_array_file(first) and is_array_file(second):
        file, array, rows = selected_rows(first)
        other, array_too, rows_too = selected_rows(second)
        return file == other and array == array_too and bool(np.isin(rows, rows_too).any())
    return first == second or Path(first).resolve() == Path(second).resolve()


def _opened(config: CompressConfig, model: Model) -> dict[str, Dataset]:
    """Open the training and the evaluation data, and resolve the input sizes of the model.

    Real data determines the sizes for the whole run, and generated data has the same.

    Returns:
        The data by its specification.
    """
    specs = [spec for spec in (config.data, config.eval_data) if spec is not None]
    first, *others = sorted(specs, key=is_generated_spec)
    stated = config.input_shape
    opened = {first: open_sized(first, model, stated, **_options(config, first))}
    _check_labels(model, opened[first], first)
    for spec in others:
        inputs = input_specs(model, stated, whole=is_generated_spec(spec))
        opened[spec] = load_dataset(spec, inputs=inputs, **_options(config, spec))
        _check_labels(model, opened[spec], spec)
    return opened


def _options(config: CompressConfig, spec: str) -> dict[str, Any]:
    """Return how data is read."""
    options: dict[str, Any] = {"layout": config.layout}
    if config.image_size is not None:
        options["size"] = config.image_size
    # With generated training data, the preprocessing is that of the evaluation data.
    if not (is_generated_spec(spec) and config.eval_data is not None):
        options |= {"mean": config.mean, "std": config.std, "scale": config.scale}
    return options


def open_sized(
    spec: str, model: Model, stated: Mapping[str, tuple[int, ...]] | None, **options: Any
) -> Dataset:
    """Open data, and resolve the input sizes of the model: from real data, else for generated data.

    Args:
        spec: The data, as for ``acgraph.data.load_dataset``.
        model: The model, whose sizes are resolved in place.
        stated: Shapes that were stated, by input.
        options: How the data is read, as for ``load_dataset``.

    Raises:
        DataError: The data does not fit the model.
    """
    is_generated = is_generated_spec(spec)
    if is_generated:  # generated inputs have the sizes of the model
        resolve_sizes(model, stated)
    inputs = input_specs(model, stated, whole=is_generated)
    found = load_dataset(spec, inputs=inputs, **options)
    if not is_generated:
        _resolve_sizes_from(model, found, stated)
    return found


def _resolve_sizes_from(
    model: Model, data: Dataset, stated: Mapping[str, tuple[int, ...]] | None = None
) -> None:
    """Resolve the sizes of a model's inputs from the first example of its data, in place.

    Args:
        model: The model.
        data: Its data.
        stated: Shapes that were stated, by input.
    """
    specs = {spec.name: spec for spec in input_specs(model, stated)}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, value, axis in first_example(data).named(list(specs)):
        sizes = list(value.shape)
        if axis is not None:
            batch = specs[name].shape[axis]
            sizes[axis] = batch if isinstance(batch, int) else 1
        shapes[name] = tuple(sizes)
    resolve_sizes(model, shapes)


def _check_labels(model: Model, data: Dataset, spec: str) -> None:
    """Check that the labels are below the number of classes of the network."""
    if data.labels is None or not are_class_numbers(data.labels):
        return
    check_has_classes(first_output_shape(model), Location(model=spec))
    where = Location(model=spec.partition("#")[0])
    check_label_range(data.labels, class_count(model), where)


def input_specs(
    model: Model, stated: Mapping[str, tuple[int, ...]] | None = None, *, whole: bool = False
) -> list[InputSpec]:
    """Describe the inputs of a model, and how random values of each are generated.

    Args:
        model: The model.
        stated: Shapes that were stated, by input.
        whole: Return resolved sizes; otherwise, a dynamic dimension is a name or None.
    """
    sizes = state(declared_inputs(model), stated, model.location()).specs()
    if whole:
        sizes = {**sizes, **input_sizes(model).shapes}
    axes, inputs = batch_axes(model), model.graph.inputs
    bounds: Mapping[str, int | tuple[int, ...]] = {}
    states: frozenset[str] = frozenset()
    if whole and (len(inputs) > 1 or any(np.dtype(t.dtype).kind in "iu" for t in inputs)):
        bounds, states = integer_bounds(model), _states(model)
    return [
        InputSpec(
            t.name, sizes.get(t.name, ()), np.dtype(t.dtype), axes[t.name], bounds.get(t.name),
            t.name in states,
        )
        for t in inputs
    ]  # fmt: skip


def _states(model: Model) -> frozenset[str]:
    """Return the inputs that carry a recurrent state, whose next value is an output."""
    return frozenset(o.state_of for o in output_facts(model, infer_facts(model)).outputs)


def class_count(model: Model) -> int | None:
    """Return the number of classes of the first output; None if it is not a classifier."""
    shape = first_output_shape(model)
    if shape is None or len(shape) != 2 or shape[1] < 2:
        return None
    return shape[1]


def first_output_shape(model: Model) -> tuple[int, ...] | None:
    """Return the shape of the first output, batch first; None if it cannot be inferred."""
    return infer_facts(model).shapes.get(model.graph.outputs[0].name)
