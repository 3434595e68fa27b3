"""Run the compact and the masked model on the same inputs, and collect their differences."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.backends.ort.compare import Comparison
from acgraph.backends.ort.inside import Inside, find_inside, with_outputs, without_zeros
from acgraph.backends.ort.session import ModelSource, Session, SessionSettings, name_of
from acgraph.diagnostics import Location
from acgraph.errors import BackendError, VerifyError
from acgraph.ir import Array, Model
from acgraph.ir.raw import bytes_with_outputs
from acgraph.ir.shapes import walk_shapes

_log = logging.getLogger(__name__)

#: Bound of the bytes of layer outputs, over all inputs on which they are compared.
_INSIDE_BYTES = 192 << 20
#: Layer outputs are compared on at most this many sets of inputs.
_INSIDE_TRIALS = 3

#: A label, and inputs by name. The label is empty for usual inputs; the reference may fail on
#: inputs with a label.
Feeds = tuple[str, Mapping[str, Array]]
#: Label of inputs with large values, on which a correct network may overflow.
LARGE = "larger inputs"
#: Types of inputs and outputs, by ``("input", name)`` or ``("output", name)``.
_Signature = dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One set of inputs, and the tensors that the reference computes from it.

    Attributes:
        index: Index among all sets of inputs.
        label: Label of the inputs, empty for usual ones.
        feeds: Inputs by name.
        expected: Tensors of the reference, by name.
    """

    index: int
    label: str = ""
    feeds: Mapping[str, Array]
    expected: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Form:
    """One of the two models.

    Attributes:
        source: The model as it is run.
        graph: Its graph; None if only ONNX Runtime can read it.
    """

    source: ModelSource
    graph: Model | None

    @property
    def is_rewritten(self) -> bool:
        """Whether reading the file has replaced operators, so that the graph differs from it."""
        is_file = not isinstance(self.source, Model)
        return is_file and self.graph is not None and bool(self.graph.expanded)

    def with_outputs(self, names: Sequence[str]) -> ModelSource:
        """Return the model with intermediate tensors as further outputs."""
        if not names or self.graph is None:
            return self.source
        if not isinstance(self.source, Model):
            data = bytes_with_outputs(self.source, list(names))
            if data is not None:
                return data
        return with_outputs(self.graph, names)


@dataclass(frozen=True, slots=True)
class Pair:
    """The compact and the masked model, and the intermediate tensors that both compute."""

    compact: Form
    masked: Form
    inside: Inside = field(default_factory=Inside)

    @classmethod
    def of(cls, compact: Form, masked: Form, feeds: Sequence[Feeds]) -> "Pair":
        """Pair two models, and find the intermediate tensors to compare.

        There are none if a graph cannot be read, or if reading has replaced operators.
        """
        if compact.graph is None or masked.graph is None:
            return cls(compact, masked)
        if compact.is_rewritten or masked.is_rewritten:
            return cls(compact, masked)
        inside = find_inside(compact.graph, masked.graph)
        return cls(compact, masked, _within_memory(inside, masked.graph, feeds))


def _within_memory(inside: Inside, masked: Model, feeds: Sequence[Feeds]) -> Inside:
    """Leave out the largest layer outputs if all of them need too much memory."""
    fed = {name: array.shape for _, arrays in feeds[:1] for name, array in arrays.items()}
    shapes = walk_shapes(masked, fed).shapes
    sizes = {name: 4 * int(np.prod(shapes[name])) for name in inside.layers if name in shapes}
    total, kept = 0, set()
    for name in sorted(sizes, key=lambda name: sizes[name]):
        total += sizes[name]
        if 2 * total > _INSIDE_BYTES:
            break
        kept.add(name)
    return inside.within(kept)


@dataclass(slots=True)
class Evidence:
    """The comparison of two models on the same inputs.

    Attributes:
        outputs: Names of the outputs of both models.
        trials: The inputs, with the tensors of the reference.
        table: Comparison of each tensor, by name.
        reshaped: Intermediate tensors that were cut, so that only their remaining part is compared.
        notes: Inputs that could not be used, with the reason.
    """

    outputs: frozenset[str]
    trials: list[Trial]
    table: dict[str, Comparison] = field(default_factory=dict)
    reshaped: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def is_output(self, name: str) -> bool:
        """Whether a name is that of an output, or of a tensor of a sequence output."""
        return name in self.outputs or name.split("[")[0] in self.outputs

    def add(self, made: Mapping[str, Array], trial: Trial) -> None:
        """Compare the tensors of both models for another set of inputs."""
        expected = trial.expected
        for name in sorted(made.keys() | expected.keys()):
            value, reference = made.get(name), expected.get(name)
            if not self.is_output(name) and value is not None and reference is not None:
                if value.shape != reference.shape:
                    self.reshaped.add(name)
                alike = without_zeros(value, reference)
                if alike is None:
                    continue
                value, reference = alike
            self.table.setdefault(name, Comparison(name)).add(value, reference, trial.index)


def collect(pair: Pair, feeds: Sequence[Feeds], settings: SessionSettings) -> Evidence:
    """Run one model after the other, so that only one of them is in memory, and compare.

    Raises:
        VerifyError: The two models have different inputs or outputs.
        BackendError: A model cannot be loaded, or the reference cannot run usual inputs.
    """
    names = pair.inside.names
    reference = Session(pair.masked.with_outputs(names), settings)
    theirs = _signature(reference, pair.masked)
    found = Evidence(frozenset(name for what, name in theirs if what == "output"), [])
    _run_reference(reference, pair.inside, feeds, found)
    del reference
    ours = Session(pair.compact.with_outputs(names), settings)
    _check_signature(pair, _signature(ours, pair.compact), theirs)
    for trial in found.trials:
        try:
            made = ours.run(trial.feeds, only=trial.expected)
        except BackendError as error:
            made = {}
            found.notes.append(f"the compact model cannot run {trial.label or 'an input'}: {error}")
        found.add(made, trial)
    return found


def _signature(session: Session, form: Form) -> _Signature:
    """Return the types of inputs and outputs, without added outputs."""
    own = None if form.graph is None else {tensor.name for tensor in form.graph.graph.outputs}
    kinds = {("input", info.name): info.kind for info in session.inputs}
    for info in session.outputs:
        if own is None or info.name in own:
            kinds["output", info.name] = info.kind
    return kinds


def _run_reference(
    reference: Session, inside: Inside, feeds: Sequence[Feeds], found: Evidence
) -> None:
    left, budget = _INSIDE_TRIALS, _INSIDE_BYTES
    for index, (label, arrays) in enumerate(feeds):
        names = {*found.outputs, *inside.starts}
        with_layers = left > 0 and label in ("", LARGE)
        if with_layers:
            names.update(inside.layers)
        try:
            expected = reference.run(arrays, only=names)
        except BackendError as error:
            if not label:
                raise
            found.notes.append(f"not compared on {label}: the masked model cannot run it")
            _log.info("%s", error)
            continue
        others = [value for trial in found.trials for value in trial.expected.values()]
        if label == LARGE and not _are_finite(expected.values()) and _are_finite(others):
            found.notes.append(f"not compared on {label}: the masked model overflows")
            continue
        found.trials.append(Trial(index=index, label=label, feeds=arrays, expected=expected))
        if with_layers:
            size = sum(expected[name].nbytes for name in inside.layers)
            budget -= size
            left = left - 1 if budget >= size else 0


def _are_finite(arrays: Iterable[Array]) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays if array.dtype.kind == "f")


def _check_signature(pair: Pair, mine: _Signature, theirs: _Signature) -> None:
    """Check that both models have the same inputs and outputs."""
    ours, reference = name_of(pair.compact.source), name_of(pair.masked.source)
    hint = f"give two forms of one model: its inputs and outputs must be those of {reference}"
    lost = sorted(mine.keys() ^ theirs.keys())
    if lost:
        what, name = lost[0]
        owner = ours if lost[0] in mine else reference
        raise VerifyError(
            f"only {owner} has the {what} '{name}'", location=Location(model=ours), hint=hint
        )
    for (what, name), kind in mine.items():
        if kind != theirs[what, name]:
            raise VerifyError(
                f"the {what} is a {kind} instead of a {theirs[what, name]}",
                location=Location(model=ours, value=name),
                hint=hint,
            )
