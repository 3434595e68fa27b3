"""Write networks differently, and see whether the same is found in them.

    OMP_NUM_THREADS=1 python benchmarks/metamorphic.py [NAME ...]

What a node is called, where it stands, what notes it carries and how constants are stored changes
nothing of a network. So each graph of the zoo is read as it is and in other ways (``VARIANTS``);
coupled sets, fences, params and MACs, before and after a cut at half, must be the same. Differences
are printed, and the exit code is 1 where there is any.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
from onnx import helper, numpy_helper

from acgraph.analysis.cost import model_cost
from acgraph.analysis.dependency import analyse
from acgraph.ir import model_from_proto
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.select import magnitude_plan
from acgraph.pruning.shrink import shrink

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("ACGRAPH_SHARED", ROOT.parent / "shared"))
SPARSITY = 0.5


@dataclass(frozen=True, slots=True)
class Found:
    """What is found in a network, whatever its parts are called.

    Attributes:
        families: Size, whether it may be cut and exactly, and which axes of what it cuts.
        fences: How often each reason fences.
        macs: Before and after the cut.
        params: Of the weights that may be cut, before and after.
        unknown: Of how many nodes the MACs are not known, before and after.
    """

    families: Counter[object]
    fences: Counter[str]
    macs: tuple[int, int]
    params: tuple[int, int]
    unknown: tuple[int, int]

    def differences(self, other: "Found") -> Iterator[str]:
        """Say in what another differs."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if mine == theirs:
                continue
            if isinstance(mine, Counter):
                lost, gained = list(mine - theirs)[:2], list(theirs - mine)[:2]
                yield f"{field.name}: lost {lost}, gained {gained}"
            else:
                yield f"{field.name}: {mine}, and {theirs}"


def find(proto: onnx.ModelProto) -> Found:
    """Analyse a network and cut half of it."""
    model = model_from_proto(proto, "network")
    before = model_cost(model)
    untie_constants(model)
    dependency = analyse(model)
    shapes = dependency.facts.shapes
    families: Counter[object] = Counter()
    for family in dependency.families:
        members = Counter(
            (shapes[m.tensor], m.axis, m.role, int((m.sets >= 0).sum())) for m in family.members
        )
        key = (family.size, family.is_prunable, family.is_exact, frozenset(members.items()))
        families[key] += 1
    plan = magnitude_plan(dependency, model.constants(), SPARSITY)
    small = shrink(dependency, plan).model
    after = model_cost(small)
    return Found(
        families=families,
        fences=Counter(fence.message for fence in dependency.all_fences()),
        macs=(before.macs, after.macs),
        params=(before.params, after.params),
        unknown=(len(before.unknown), len(after.unknown)),
    )


def copied(proto: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and the subgraphs in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] * attribute.HasField("g") + list(attribute.graphs):
                yield from graphs(inner)


def without_notes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """No notes, no doc strings, and no shapes of inner values."""
    result = copied(proto)
    for graph in graphs(result.graph):
        graph.ClearField("doc_string")
        del graph.metadata_props[:], graph.value_info[:]
        for part in [*graph.node, *graph.initializer, *graph.input, *graph.output]:
            part.ClearField("doc_string")
            del part.metadata_props[:]
    return result


def with_notes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Notes and doc strings on everything."""
    result = copied(proto)
    for graph in graphs(result.graph):
        graph.doc_string = "a graph"
        parts = [*graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info]
        for number, part in enumerate(parts):
            part.doc_string = f"part {number}"
            part.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=f"line {number}")
    return result


def with_shapes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The shapes of inner values as onnx infers them, with notes."""
    result = copied(without_notes(proto))
    bare = copied(result)
    for tensor in bare.graph.initializer:
        if len(tensor.raw_data) > 1 << 13:
            tensor.ClearField("raw_data")
    inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    result.graph.value_info.extend(inferred.graph.value_info)
    for value in result.graph.value_info:
        value.doc_string = "inferred"
        value.metadata_props.add(key="pkg.torch.onnx.original_node_name", value=value.name)
    return result


def renamed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Other names for nodes, tensors, inputs and outputs, in another alphabetical order."""
    result = copied(proto)
    rng = random.Random(0)
    names: dict[str, str] = {"": ""}

    def of(name: str) -> str:
        return names.setdefault(name, f"v{rng.randrange(10**9):09d}_{len(names)}")

    for graph in graphs(result.graph):
        for part in [*graph.initializer, *graph.input, *graph.output, *graph.value_info]:
            part.name = of(part.name)
        for tensor in graph.sparse_initializer:
            tensor.values.name = of(tensor.values.name)
        for number, node in enumerate(graph.node):
            node.name = f"n{rng.randrange(10**9):09d}_{number}"
            node.input[:] = [of(name) for name in node.input]
            node.output[:] = [of(name) for name in node.output]
    return result


def shuffled(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Another order of the nodes, sorted still."""
    result = copied(proto)
    rng = random.Random(0)
    nodes = list(proto.graph.node)
    made = {name for node in nodes for name in node.output if name}
    waiting = [(_reads(node) & made, node) for node in nodes]
    rng.shuffle(waiting)
    del result.graph.node[:]
    done: set[str] = set()
    while waiting:
        later = []
        for wanted, node in waiting:
            if wanted <= done and rng.random() < 0.7:
                result.graph.node.append(node)
                done.update(node.output)
            else:
                later.append((wanted, node))
        waiting = later
    return result


def _reads(node: onnx.NodeProto) -> set[str]:
    inner = [
        inner
        for attribute in node.attribute
        for graph in [attribute.g] * attribute.HasField("g")
        for part in graphs(graph)
        for inner in part.node
    ]
    outs = {v.name for a in node.attribute if a.HasField("g") for v in a.g.output}
    return {name for part in [node, *inner] for name in part.input} | outs


def with_initializers(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Initializers for Constant nodes."""
    result = copied(proto)
    del result.graph.node[:]
    for node in proto.graph.node:
        value = _constant(node)
        if value is None:
            result.graph.node.append(node)
        else:
            value.name = node.output[0]
            result.graph.initializer.append(value)
    return result


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    if node.op_type != "Constant" or node.domain:
        return None
    attribute = node.attribute[0]
    result = onnx.TensorProto()
    if attribute.name == "value":
        result.CopyFrom(attribute.t)
        return result
    kinds = {"value_float": np.float32, "value_floats": np.float32,
             "value_int": np.int64, "value_ints": np.int64}  # fmt: skip
    if attribute.name not in kinds:
        return None
    array = np.asarray(helper.get_attribute_value(attribute), kinds[attribute.name])
    return numpy_helper.from_array(array)


def with_constant_nodes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Constant nodes for initializers."""
    result = copied(proto)
    del result.graph.initializer[:], result.graph.node[:]
    for tensor in proto.graph.initializer:
        node = helper.make_node("Constant", [], [tensor.name], f"make {tensor.name}")
        attribute = node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
        attribute.t.CopyFrom(tensor)
        result.graph.node.append(node)
    result.graph.node.extend(proto.graph.node)
    return result


VARIANTS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "notes": with_notes,
    "shapes": with_shapes,
    "renamed": renamed,
    "shuffled": shuffled,
    "initializers": with_initializers,
    "constant nodes": with_constant_nodes,
}
#: Several at once, which is all that is tried where they make no difference.
TOGETHER: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "all": lambda proto: with_notes(renamed(shuffled(with_constant_nodes(with_shapes(proto))))),
    "all, as initializers": lambda proto: with_notes(renamed(shuffled(with_initializers(proto)))),
}


def compare(plain: Found, proto: onnx.ModelProto, variants: dict[str, Any]) -> list[str]:
    """Say what is found otherwise where a network is written otherwise."""
    return [
        f"  {kind}: {line}"
        for kind, change in variants.items()
        for line in plain.differences(find(change(proto)))
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    if not (SHARED / "zoo").is_dir():
        print(f"no zoo at {SHARED}: set ACGRAPH_SHARED", file=sys.stderr)
        return 2
    sys.path.insert(0, str(SHARED / "zoo"))
    import zoo

    files = sorted((SHARED / "zoo").glob("*.onnx.gz"), key=lambda path: path.stat().st_size)
    names = arguments.names or [path.name.removesuffix(".onnx.gz") for path in files]
    bad = 0
    for name in names:
        start = time.process_time()
        proto = zoo.load(name)
        plain = find(without_notes(proto))
        lines = compare(plain, proto, TOGETHER)
        lines += compare(plain, proto, VARIANTS) if lines else []
        bad += bool(lines)
        word = "DIFFERS" if lines else "same"
        print(f"{name}: {word}, {time.process_time() - start:.0f} s", *lines, sep="\n", flush=True)
    print(f"{len(names) - bad} of {len(names)} networks are the same however they are written")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
