"""Shape inference: shapes, types and constant values of every tensor, in one forward walk.

The walk uses concrete input sizes, so that shape arithmetic (Shape, Gather, Concat into Reshape)
can be evaluated. ``onnx.shape_inference`` on the whole graph leaves hundreds of tensors unknown
where a shape depends on such arithmetic. The walk calls onnx's inference of single operators, node
by node, with the values known so far.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np
import onnx
import onnx.checker
import onnx.defs
import onnx.helper
import onnx.numpy_helper
import onnx.shape_inference
import onnx_graphsurgeon as gs

from acgraph.ir.assume import PLACEHOLDERS, Assumptions, elem_of, float_elem, sizes_of
from acgraph.ir.contradictions import contradiction
from acgraph.ir.facts import Facts, failure
from acgraph.ir.fold import evaluate_node
from acgraph.ir.microsoft.layout import as_standard, reordered, schema_domain
from acgraph.ir.model import Array, InputSizes, Model, Shape, constant_node_value
from acgraph.ir.node_proto import node_to_proto
from acgraph.ir.originals import put_back
from acgraph.ir.sizes import declared_inputs, input_sizes, open_axes, resized
from acgraph.operators import is_standard

#: Larger values are not evaluated: they are weights or masks, not shapes.
MAX_VALUE_ELEMENTS = 1 << 16
#: Larger values are not passed to onnx's shape inference, which needs sizes, pads and scales.
MAX_DATA_ELEMENTS = 1 << 10
#: Output shape equals that of input 0; onnx does not infer it, because these are functions.
_SAME_SHAPE = ("GroupNormalization", "MeanVarianceNormalization")


def is_static(model: Model) -> bool:
    """Return whether every size of every input is a declared number."""
    return all(
        tensor.shape is not None and all(isinstance(s, int) and s > 0 for s in tensor.shape)
        for tensor in model.graph.inputs
    )


def infer_facts(model: Model, sizes: InputSizes | None = None, *, assume: bool = False) -> Facts:
    """Infer the facts of the top graph.

    Where the file leaves input sizes open, a second walk uses other sizes: values that differ are
    ``dynamic``. Sizes at which the graph cannot run are not considered.

    Args:
        model: The model.
        sizes: Input sizes; by default those of ``model.sizes``.
        assume: Also assume shapes that cannot be inferred, see `acgraph.ir.assume`. The caller must
            respect ``Facts.assumed``.
    """
    shapes = (sizes or input_sizes(model)).shapes
    placeholder = PLACEHOLDERS[0] if assume else None
    facts, uncertain = walk_shapes(model, shapes, placeholder), False
    failures = facts.failures
    if assume and (facts.uninferred or facts.unknown):
        # The reason may be that the chosen input sizes do not fit.
        facts, uncertain = walk_shapes(model, shapes, placeholder, inputs_uncertain=True), True
    for second in _at_other_sizes(model, shapes, placeholder, len(facts.failures), uncertain):
        facts.dynamic.update(_differing(facts, second))
        for name, fixed in _fixed_axes(facts, second).items():
            before = facts.fixed_axes.get(name, fixed)
            facts.fixed_axes[name] = tuple(a and b for a, b in zip(before, fixed, strict=False))
    if facts.uninferred:
        third = walk_shapes(model, shapes, PLACEHOLDERS[1], inputs_uncertain=uncertain)
        facts.dynamic.update(_differing(facts, third))
        facts.assumed.update(_assumed_axes(facts, third))
        facts.others.update({n: third.shapes[n] for n in facts.assumed if n in third.shapes})
    return replace(facts, failures=failures)


def _at_other_sizes(
    model: Model, shapes: Mapping[str, Shape], placeholder: int | None, most: int, uncertain: bool
) -> list[Facts]:
    """Infer facts with other values for all sizes that the file leaves open.

    Where more than ``most`` nodes cannot run then, each size is changed separately.
    """
    inputs = declared_inputs(model)
    others = {
        name: axis.size + 1 if axis.is_batch else 2 * axis.size
        for name, axis in open_axes(inputs, shapes).items()
    }
    if not others:
        return []
    whole = walk_shapes(
        model, resized(inputs, shapes, others), placeholder, inputs_uncertain=uncertain
    )
    if len(whole.failures) <= most:
        return [whole]
    alone = (
        walk_shapes(
            model, resized(inputs, shapes, {name: size}), placeholder, inputs_uncertain=uncertain
        )
        for name, size in others.items()
    )
    return [found for found in alone if len(found.failures) <= most] or [whole]


def _differing(first: Facts, second: Facts) -> set[str]:
    return {
        name
        for name, value in first.values.items()
        if not np.array_equal(value, second.values.get(name, np.empty(0)))
    }


def _assumed_axes(first: Facts, second: Facts) -> dict[str, tuple[bool, ...]]:
    """Return which axes have another size with another placeholder; all where the rank differs."""
    found = {}
    for name, shape in first.shapes.items():
        other = second.shapes.get(name, ())
        if shape == other:
            continue
        alike = len(shape) == len(other)
        found[name] = (
            tuple(a != b for a, b in zip(shape, other, strict=True))
            if alike
            else (True,) * len(shape)
        )
    return found


def walk_shapes(
    model: Model,
    shapes: Mapping[str, Shape],
    placeholder: int | None = None,
    *,
    inputs_uncertain: bool = False,
    give_up_at: int | None = None,
) -> Facts:
    """Infer the facts of the top graph in one walk, at given input sizes.

    Args:
        model: The model.
        shapes: Shapes of its inputs; missing ones are unknown.
        placeholder: The assumed size of unknown axes; None leaves them unknown.
        inputs_uncertain: Treat the open axes of inputs as placeholders: where they do not fit, the
            walk continues with the sizes that do not depend on them.
        give_up_at: End the walk at this number of failures.
    """
    assumptions = None if placeholder is None else _assumptions(model, shapes, placeholder)
    walk = _Walk(model, assumptions)
    if assumptions is not None and inputs_uncertain:
        assumptions.mark_open_inputs(model.graph.inputs)
    for tensor in model.graph.inputs:
        walk.add_input(tensor, shapes.get(tensor.name))
    for node in model.graph.nodes:
        walk.visit(node)
        if give_up_at is not None and len(walk.facts.failures) >= give_up_at:
            break
    if assumptions is None:
        return walk.facts
    return replace(walk.facts, uninferred=frozenset(assumptions.uninferred))


def _assumptions(
    model: Model, sizes: Mapping[str, tuple[int, ...]], placeholder: int
) -> Assumptions:
    first = next((shape for shape in sizes.values() if len(shape) > 1), (1,))
    symbols = {
        name: size
        for tensor in model.graph.inputs
        for name, size in zip(tensor.shape or (), sizes.get(tensor.name, ()), strict=False)
        if isinstance(name, str) and name
    }
    # The assumed batch size differs between the walks, too, so that it does not count as known.
    batch = first[0] + (placeholder != PLACEHOLDERS[0])
    return Assumptions(placeholder=placeholder, batch=batch, symbols=symbols)


def _fixed_axes(first: Facts, second: Facts) -> dict[str, tuple[bool, ...]]:
    return {
        name: tuple(a == b for a, b in zip_longest(shape, second.shapes.get(name, ())))
        for name, shape in first.shapes.items()
        if shape != second.shapes.get(name)
    }


class _Walk:
    def __init__(self, model: Model, assumptions: Assumptions | None = None) -> None:
        self.facts = Facts()
        self._model = model
        self._assumptions = assumptions
        proto = onnx.ModelProto()
        proto.ir_version = model.graph.ir_version or 8
        self._opsets = {"": model.graph.opset}
        for entry in model.graph.import_domains or []:
            self._opsets[entry.domain] = entry.version
        self._imports = [onnx.helper.make_opsetid(d, v) for d, v in self._opsets.items()]
        self._types: dict[str, onnx.TypeProto] = {}
        self._ir_version = proto.ir_version

    def add_input(self, tensor: gs.Tensor, shape: tuple[int, ...] | None) -> None:
        if tensor.dtype is None or shape is None:
            self.facts.unknown.append(tensor.name)
            return
        self._record(tensor.name, onnx.helper.make_tensor_type_proto(elem_of(tensor), shape))
        if self._assumptions is not None:
            self._assumptions.assume_value(tensor.name, shape, elem_of(tensor))

    def _record(self, name: str, kind: onnx.TypeProto) -> None:
        self._types[name] = kind
        if not kind.HasField("tensor_type"):
            return
        self.facts.dtypes[name] = kind.tensor_type.elem_type
        shape = _shape_of(kind)
        if shape is not None:
            self.facts.shapes[name] = shape

    def _record_array(self, name: str, value: Array) -> None:
        elem = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        self._record(name, onnx.helper.make_tensor_type_proto(elem, value.shape))
        if value.size <= MAX_VALUE_ELEMENTS:
            self.facts.values[name] = value

    def _add_constant(self, tensor: gs.Constant) -> None:
        if tensor.name in self._types:
            return
        shape = tuple(tensor.shape)
        self._record(tensor.name, onnx.helper.make_tensor_type_proto(elem_of(tensor), shape))
        if math.prod(shape) <= MAX_VALUE_ELEMENTS:
            with contextlib.suppress(TypeError, ValueError):  # types that numpy lacks
                self.facts.values[tensor.name] = np.asarray(tensor.values)

    def visit(self, node: gs.Node) -> None:
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant):
                self._add_constant(tensor)
        if node.op == "Constant":
            value = constant_node_value(node)
            if value is not None:
                self._record_array(node.outputs[0].name, value)
                return
        if not self._evaluate(node):
            self._infer(node)
        if self._assumptions is not None:
            self._assume(node, self._assumptions)
        self.facts.unknown.extend(
            t.name for t in node.outputs if t.name and t.name not in self.facts.shapes
        )

    def _evaluate(self, node: gs.Node) -> bool:
        """Compute the outputs of a node whose inputs are known values, or of Shape and Size."""
        names = [t.name for t in node.inputs]
        facts = self.facts
        if not is_standard(node.domain) or not names:
            return False
        if node.op in ("Shape", "Size"):
            shape = facts.shapes.get(names[0])
            if shape is None:
                return False
            start, end = int(node.attrs.get("start", 0)), node.attrs.get("end")
            part = np.array(shape[start:end] if node.op == "Shape" else np.prod(shape), np.int64)
            self._record_array(node.outputs[0].name, part)
            return True
        if not all(name in facts.values for name in names if name):
            return False
        arrays = [facts.values[name] if name else None for name in names]
        outputs = evaluate_node(node, arrays, self._opsets[""], MAX_VALUE_ELEMENTS)
        if outputs is None:
            return False
        for tensor, value in zip(node.outputs, outputs, strict=False):
            if tensor.name:
                self._record_array(tensor.name, value)
        return True

    def _infer(self, node: gs.Node) -> None:
        types = {t.name: self._types[t.name] for t in node.inputs if t.name in self._types}
        values = {
            t.name: self.facts.values[t.name] for t in node.inputs if t.name in self.facts.values
        }
        if self._assumptions is not None:
            values.update(self._assumptions.assumed_sizes(node))
        found = self._infer_types(node, types, values)
        made = {n: s for n, s in ((n, _shape_of(k)) for n, k in found.items()) if s is not None}
        wrong = contradiction(node, self.facts.shapes, made)
        if wrong is not None and self._is_root_failure(node):
            self.facts.failures.append(wrong)
            for name, shape in made.items():
                if min(shape, default=1) < 1:
                    found[name].tensor_type.ClearField("shape")
        for name, kind in found.items():
            self._record(name, kind)

    def _infer_types(
        self, node: gs.Node, types: Mapping[str, onnx.TypeProto], values: Mapping[str, Array]
    ) -> dict[str, onnx.TypeProto]:
        """Return the types of a node's outputs that onnx can infer."""
        if node.op in _SAME_SHAPE and node.inputs[0].name in types:
            return {node.outputs[0].name: types[node.inputs[0].name]}
        blocked = reordered(node, types.get(node.inputs[0].name) if node.inputs else None)
        if blocked is not None:
            return {node.outputs[0].name: blocked}
        domain = schema_domain(node)
        version = self._opsets.get(domain)
        if version is None or not onnx.defs.has(node.op, version, domain):
            return {}
        schema = onnx.defs.get_schema(node.op, version, domain)
        proto = node_to_proto(node)
        put_back(proto, node, self._model.originals.get(node.name))
        if proto.domain != domain:
            as_standard(proto, schema)
        data = {
            name: onnx.numpy_helper.from_array(value, name)
            for name, value in values.items()
            if value.size <= MAX_DATA_ELEMENTS
        }
        try:
            found = onnx.shape_inference.infer_node_outputs(
                schema,
                proto,
                dict(types),
                data,
                opset_imports=self._imports,
                ir_version=self._ir_version,
            )
        except (
            onnx.shape_inference.InferenceError,
            onnx.checker.ValidationError,
            KeyError,
            RuntimeError,
            ValueError,
        ) as error:
            found = {}  # the outputs are listed in ``unknown``, and the analysis fences them
            if self._is_root_failure(node):
                self.facts.failures.append(failure(node, error))
        return dict(found)

    def _assume(self, node: gs.Node, assumptions: Assumptions) -> None:
        """Complete the shapes of a node's outputs, and mark those that depend on an assumption."""
        touched = assumptions.reads_uncertain(node)
        types = self._types
        if touched:
            sure = (
                assumptions.certain_types(node, types),
                assumptions.certain_values(node, self.facts.values),
            )
            types = self._infer_types(node, *sure)
        for tensor in node.outputs:
            kind = self._types.get(tensor.name)
            if not tensor.name or (kind is not None and not kind.HasField("tensor_type")):
                continue
            known = sizes_of(types.get(tensor.name))
            shape = self.facts.shapes.get(tensor.name)
            if shape is None or (touched and min(shape, default=0) < 0):
                shape = assumptions.complete(tensor, known)
                if shape is not None:
                    elem = (kind is not None and kind.tensor_type.elem_type) or float_elem(tensor)
                    self._record(tensor.name, onnx.helper.make_tensor_type_proto(elem, shape))
            elif touched:
                assumptions.mark_axes(tensor.name, known, len(shape))
            if touched and tensor.name in self.facts.values:
                assumptions.mark_value(node, tensor.name)
        self._assume_values(node, assumptions)

    def _is_root_failure(self, node: gs.Node) -> bool:
        """Return whether a failure is not just the consequence of an unknown input shape."""
        follows = self._assumptions is not None and self._assumptions.reads_uncertain(node)
        return not follows and all(t.name in self.facts.shapes for t in node.inputs if t.name)

    def _assume_values(self, node: gs.Node, assumptions: Assumptions) -> None:
        """Propagate assumed integer values through a node, or assume those of its outputs."""
        values, names = self.facts.values, [t.name for t in node.inputs]
        arrays = [values.get(name, assumptions.assumed_values.get(name)) for name in names]
        outputs: Sequence[Array] | None = None
        is_whole = all(x is not None or not name for x, name in zip(arrays, names, strict=True))
        is_known = is_whole and is_standard(node.domain)
        if is_known and not assumptions.assumed_values.keys().isdisjoint(names):
            outputs = evaluate_node(node, arrays, self._opsets[""], MAX_DATA_ELEMENTS)
        for j, name in enumerate(t.name for t in node.outputs):
            if not name or name in values or name not in self.facts.shapes:
                continue
            if outputs is not None and j < len(outputs):
                assumptions.assumed_values[name] = outputs[j]
            else:
                assumptions.assume_value(name, self.facts.shapes[name], self.facts.dtypes[name])


def _shape_of(kind: onnx.TypeProto) -> Shape | None:
    """Return the shape of a tensor type; None where a size is unknown or it is no tensor."""
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)
