"""Replace operators of ``com.microsoft`` by equivalent standard operators."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import onnx
import onnx.defs
import onnx_graphsurgeon as gs

from acgraph.ir.microsoft import attention, layers, norm
from acgraph.ir.microsoft.writer import Writer
from acgraph.operators import is_standard

#: Writes the expansion of a node; returns False, with nothing written, where there is none.
Rule = Callable[[Writer], bool]

DOMAIN = "com.microsoft"
RULES: dict[str, Rule] = {**attention.RULES, **layers.RULES, **norm.RULES}
#: Operators that ONNX Runtime accepts in the default domain at opsets without them.
UNREGISTERED = frozenset(["Gelu", "LayerNormalization", "SimplifiedLayerNormalization"])


def is_unregistered(op_type: str, domain: str | None, opset: int) -> bool:
    """Return whether only ONNX Runtime defines an operator of the default domain at an opset."""
    if not is_standard(domain) or op_type not in UNREGISTERED:
        return False
    return not onnx.defs.has(op_type, opset, "")


@contextlib.contextmanager
def as_microsoft(proto: onnx.ModelProto) -> Iterator[None]:
    """Temporarily move operators that only ONNX Runtime defines to its own domain.

    ONNX Runtime's optimiser writes them into the default domain, where the checker rejects them.
    """
    opset = max((e.version for e in proto.opset_import if is_standard(e.domain)), default=1)
    moved = [n for n in proto.graph.node if is_unregistered(n.op_type, n.domain, opset)]
    known = any(entry.domain == DOMAIN for entry in proto.opset_import)
    if moved and not known:
        proto.opset_import.add(domain=DOMAIN, version=1)
    for node in moved:
        node.domain = DOMAIN
    try:
        yield
    finally:
        for node in moved:
            node.domain = ""
        if moved and not known:
            proto.opset_import.pop()


def expand_operators(graph: gs.Graph) -> Counter[str]:
    """Replace every node with an expansion, in place.

    Returns:
        The number of replaced nodes by operator.
    """
    done: Counter[str] = Counter()
    opset = int(graph.opset)
    taken = {node.name for node in graph.nodes} | set(graph.tensors())
    returned = {tensor.name for tensor in graph.outputs}
    nodes: list[gs.Node] = []
    for node in graph.nodes:
        rule = RULES.get(node.op)
        is_own = node.domain == DOMAIN or is_unregistered(node.op, node.domain, opset)
        if rule is None or not is_own:
            nodes.append(node)
            continue
        writer = Writer(node, opset, taken, returned)
        if not rule(writer):
            nodes.append(node)
            continue
        done[node.op] += 1
        nodes.extend(writer.close())
    if done:
        graph.nodes.clear()
        graph.nodes.extend(nodes)
    return done


def expanded_remark(done: Mapping[str, int]) -> str:
    """Return one sentence on the operators that were replaced."""
    kinds = ", ".join(f"{count} {op}" for op, count in sorted(done.items()))
    return (
        f"operators of ONNX Runtime were replaced by equivalent standard operators ({kinds}); "
        f"ONNX Runtime fuses these again when it loads the model"
    )
