"""Run two forms of one network on the same inputs, and collect how far their values are apart."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from acgraph.backends.ort.compare import Comparison
from acgraph.backends.ort.inside import Inside, find_inside, showing, without_zeros
from acgraph.backends.ort.session import ModelSource, Session, SessionSettings, name_of
from acgraph.diagnostics import Location
from acgraph.errors import BackendError, VerifyError
from acgraph.ir import Array, Model
from acgraph.ir.raw import bytes_with_outputs
from acgraph.ir.shapes import walk_shapes

_log = logging.getLogger(__name__)

#: Results of layers take at most this much memory, over all inputs that they are compared on.
_INSIDE_BYTES = 192 << 20
#: They are compared on at most so many sets of inputs, and on two at least.
_INSIDE_TRIALS = 3

#: Inputs by name, with what is special about them: those may be beyond what the reference can do.
Feeds = tuple[str, Mapping[str, Array]]
#: What is special about inputs of large numbers, on which a sound network may overflow.
LARGE = "larger inputs"
#: Types by what it is and its name: ``("input", "x")``.
_Signature = dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One set of inputs, and what the reference made of it.

    Attributes:
        index: Its place among all that were given.
        label: What is special about the inputs, mostly nothing.
        feeds: Inputs by name.
        expected: Values by name.
    """

    index: int
    label: str = ""
    feeds: Mapping[str, Array]
    expected: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a network: how it is run, and its graph where that is at hand."""

    source: ModelSource
    graph: Model | None

    @property
    def is_rewritten(self) -> bool:
        """Return whether the graph has other operators than the file that is run."""
        is_file = not isinstance(self.source, Model)
        return is_file and self.graph is not None and bool(self.graph.expanded)

    def showing(self, names: Sequence[str]) -> ModelSource:
        """Make outputs of values inside; a file is otherwise run as it is."""
        if not names or self.graph is None:
            return self.source
        if not isinstance(self.source, Model):
            data = bytes_with_outputs(self.source, list(names))
            if data is not None:
                return data
        return showing(self.graph, names)


@dataclass(frozen=True, slots=True)
class Pair:
    """The compact and the masked model, and the values inside that both compute."""

    compact: Form
    masked: Form
    inside: Inside = field(default_factory=Inside)

    @classmethod
    def of(cls, compact: Form, masked: Form, feeds: Sequence[Feeds]) -> "Pair":
        """Pair two models; those whose graphs are at hand are compared inside, too.

        The graph of a file some of whose operators were replaced is not what the file runs.
        """
        if compact.graph is None or masked.graph is None:
            return cls(compact, masked)
        if compact.is_rewritten or masked.is_rewritten:
            return cls(compact, masked)
        inside = find_inside(compact.graph, masked.graph)
        return cls(compact, masked, _affordable(inside, masked.graph, feeds))


def _affordable(inside: Inside, masked: Model, feeds: Sequence[Feeds]) -> Inside:
    """Leave out the largest results, of the first layers, where not all can be kept."""
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
    """What two models made of the same inputs.

    Attributes:
        outputs: Names of the outputs of both.
        trials: The inputs, and what the reference made of them.
        table: How far each value was apart.
        reshaped: Values inside that were cut, so that they could be compared in part only.
        notes: What could not be tried and why.
    """

    outputs: frozenset[str]
    trials: list[Trial]
    table: dict[str, Comparison] = field(default_factory=dict)
    reshaped: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def is_output(self, name: str) -> bool:
        """Return whether a value is an output, or a tensor of one that is a sequence."""
        return name in self.outputs or name.split("[")[0] in self.outputs

    def add(self, made: Mapping[str, Array], expected: Mapping[str, Array]) -> None:
        """Compare what both made of one more set of inputs."""
        for name in sorted(made.keys() | expected.keys()):
            value, reference = made.get(name), expected.get(name)
            if not self.is_output(name) and value is not None and reference is not None:
                if value.shape != reference.shape:
                    self.reshaped.add(name)
                alike = without_zeros(value, reference)
                if alike is None:
                    continue
                value, reference = alike
            self.table.setdefault(name, Comparison(name)).add(value, reference)


def collect(pair: Pair, feeds: Sequence[Feeds], settings: SessionSettings) -> Evidence:
    """Run one model after the other, so that never both are in memory.

    Raises:
        VerifyError: the two models have different inputs or outputs.
        BackendError: a model cannot be loaded, or the reference not be run.
    """
    names = pair.inside.names
    reference = Session(pair.masked.showing(names), settings)
    theirs = _signature(reference, pair.masked)
    found = Evidence(frozenset(name for what, name in theirs if what == "output"), [])
    _run_reference(reference, pair.inside, feeds, found)
    del reference
    ours = Session(pair.compact.showing(names), settings)
    _check_signature(pair, _signature(ours, pair.compact), theirs)
    for trial in found.trials:
        try:
            made = ours.run(trial.feeds, only=trial.expected)
        except BackendError as error:
            made = {}
            found.notes.append(f"the compact model cannot run {trial.label or 'an input'}: {error}")
        found.add(made, trial.expected)
    return found


def _signature(session: Session, form: Form) -> _Signature:
    """Return the types of inputs and outputs, without those that only show values inside."""
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
            found.notes.append(f"{label} not tried: the masked model cannot run it")
            _log.info("%s", error)
            continue
        others = [value for trial in found.trials for value in trial.expected.values()]
        if label == LARGE and not _are_finite(expected.values()) and _are_finite(others):
            found.notes.append(f"{label} not tried: the masked model overflows")
            continue
        found.trials.append(Trial(index=index, label=label, feeds=arrays, expected=expected))
        if with_layers:
            size = sum(expected[name].nbytes for name in inside.layers)
            budget -= size
            left = left - 1 if budget >= size else 0


def _are_finite(arrays: Iterable[Array]) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays if array.dtype.kind == "f")


def _check_signature(pair: Pair, mine: _Signature, theirs: _Signature) -> None:
    """Refuse to compare models that do not take the same inputs and make the same outputs."""
    ours, reference = name_of(pair.compact.source), name_of(pair.masked.source)
    hint = f"compare two forms of one model; not compared with {reference}"
    lost = sorted(mine.keys() ^ theirs.keys())
    if lost:
        what, name = lost[0]
        owner = ours if lost[0] in mine else reference
        raise VerifyError(
            f"only {owner} has an {what} '{name}'", location=Location(model=ours), hint=hint
        )
    for (what, name), kind in mine.items():
        if kind != theirs[what, name]:
            raise VerifyError(
                f"{kind} instead of {theirs[what, name]}",
                location=Location(model=ours, value=name),
                hint=hint,
            )
