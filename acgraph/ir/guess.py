"""Choose input sizes that nobody stated: the first common ones at which every node can run."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import onnx_graphsurgeon as gs

from acgraph.errors import AcgraphError
from acgraph.ir.branches import find_branches, open_branch
from acgraph.ir.facts import Facts
from acgraph.ir.model import InputSizes, Model, Shape
from acgraph.ir.shapes import walk_shapes
from acgraph.ir.sizes import Known, declared_inputs, open_axes, state, with_batch
from acgraph.operators import Trait, operators_with

#: Operators that may precede the first layer and keep the axes of an input in place.
_PASSED = operators_with(Trait.AFFINE) | {"BatchNormalization", "Cast", "Clip", "Identity", "Pad"}
_TO_CHANNELS_FIRST = (0, 3, 1, 2)


def resolve_sizes(model: Model, stated: Mapping[str, Shape] | None = None) -> InputSizes:
    """Choose the sizes of a model's inputs, and store them in ``model.sizes``.

    Stated shapes come first, then the file. For the remaining open sizes, common values are tried,
    one input after the other. The values win at which the fewest nodes fail, including nodes in
    branches of Ifs. Among equal ones, those win at which the fewest shapes stay unknown: a Squeeze,
    for instance, may require a length that leaves one position.

    Args:
        model: The model.
        stated: Complete shapes by input, from the user or from the data. The name may be empty for
            a model with one input.

    Raises:
        UsageError: A stated shape contradicts the file.
    """
    known = _with_hints(model, state(declared_inputs(model), stated, model.location()))
    values = known.first_values()
    facts = _walk_all(model, known.shapes(values))
    for choice in known.choices():
        for option in choice.options[1:]:
            if not facts.failures and (choice.is_image or not facts.unknown):
                break
            tried = {**values, **dict(zip(choice.axes, option, strict=True))}
            most = len(facts.failures)
            limit = most if choice.is_image else most + 1
            found = _walk_all(model, known.shapes(tried), give_up_at=limit)
            if _rank(found) < _rank(facts):
                facts, values = found, tried
    contradiction = str(facts.failures[0]) if facts.failures else ""
    shapes = known.shapes(values)
    fixed_batch = None if contradiction else _fixed_batch(model, known, shapes)
    model.sizes = InputSizes(shapes, known.assumed(), contradiction, fixed_batch)
    return model.sizes


def _fixed_batch(model: Model, known: Known, shapes: Mapping[str, Shape]) -> int | None:
    """Return the batch size where the graph cannot run at another one; else None."""
    batches = [axis.size for axis in open_axes(known.inputs, shapes).values() if axis.is_batch]
    if not batches:
        return None
    other = with_batch(known.inputs, shapes, batches[0] + 1)
    return batches[0] if walk_shapes(model, other, give_up_at=1).failures else None


def _walk_all(model: Model, shapes: Mapping[str, Shape], give_up_at: int | None = None) -> Facts:
    """Infer the shapes of a graph; add the failures and unknown shapes in branches of its Ifs."""
    facts = walk_shapes(model, shapes, give_up_at=give_up_at)
    failures, unknown = [*facts.failures], [*facts.unknown]
    for branch in find_branches(model):
        if give_up_at is not None and len(failures) >= give_up_at:
            break
        try:
            inner = open_branch(model, branch, facts).model
        except AcgraphError:
            continue  # the analysis fences the branch with the reason
        found = _walk_all(inner, inner.sizes.shapes if inner.sizes else {}, give_up_at)
        failures += found.failures
        unknown += found.unknown
    return replace(facts, failures=failures, unknown=unknown)


def _rank(facts: Facts) -> tuple[int, int]:
    return len(facts.failures), len(facts.unknown)


def _with_hints(model: Model, known: Known) -> Known:
    """Add the ranks, layouts and channels that the first layers imply for the inputs."""
    inputs = {entry.name: entry for entry in known.inputs}
    wanted: dict[tuple[str, int], int] = {}
    layouts: dict[str, str] = {}
    for tensor in model.graph.inputs:
        entry = inputs[tensor.name]
        for layer, is_moved in _first_readers(tensor):
            weight = layer.inputs[1].shape
            if layer.op == "Conv":
                if entry.shape is None:
                    entry = type(entry)(entry.name, (None,) * len(weight), entry.is_float)
                    inputs[tensor.name] = entry
                if is_moved:
                    layouts[tensor.name] = "NHWC"
                axis = len(weight) - 1 if is_moved else 1
                wanted[tensor.name, axis] = int(weight[1]) * int(layer.attrs.get("group", 1))
            elif entry.shape is not None and len(weight) == 2:
                rows = weight[1] if layer.attrs.get("transB", 0) else weight[0]
                wanted[tensor.name, len(entry.shape) - 1] = int(rows)
            break
    return Known(tuple(inputs.values()), known.stated, wanted, layouts)


def _first_readers(tensor: gs.Tensor) -> Iterator[tuple[gs.Node, bool]]:
    """Yield the first layers behind an input, and whether its channel axis was moved to axis 1."""
    pending, seen = [(tensor, False)], {tensor.name}
    while pending:
        current, is_moved = pending.pop(0)
        for node in current.outputs:
            if node.op in ("Conv", "Gemm", "MatMul") and node.inputs[0] is current:
                if isinstance(node.inputs[1], gs.Constant):
                    yield node, is_moved
                continue
            perm = tuple(node.attrs.get("perm", ())) if node.op == "Transpose" else None
            if node.op not in _PASSED and (perm != _TO_CHANNELS_FIRST or is_moved):
                continue
            for output in node.outputs[:1]:
                if output.name not in seen:
                    seen.add(output.name)
                    pending.append((output, is_moved or perm is not None))
