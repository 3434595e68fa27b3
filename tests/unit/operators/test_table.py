"""The table of operators is the one place that says what an operator is."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from acgraph.analysis.batch.plan import RULES as BATCH_RULES
from acgraph.analysis.layers import MATRICES
from acgraph.analysis.macs import COUNTS
from acgraph.analysis.rules import RESIZES, RULES
from acgraph.backends.torch.ops import KERNELS
from acgraph.operators import OPERATORS

ROOT = Path(__file__).parents[3]
#: A literal with so many names of operators is a list of operators.
LIST = 3
#: The table and the kernels; then links to folders that are looked at themselves.
ASIDE = (
    "acgraph/operators/", "acgraph/backends/torch/ops/",
    "acgraph/passes/", "acgraph/cli/", "acgraph/models/",
)  # fmt: skip
#: Modules with such literals, and the question that these answer: none of what an operator is.
OTHER_QUESTIONS = {
    "acgraph/analysis/attention.py": "what keeps a Softmax over scores free of their mean",
    "acgraph/analysis/couple.py": "what may make a known number of sizes, and is cut all the same",
    "acgraph/analysis/layers.py": "what a weight is followed through, case by case",
    "acgraph/analysis/outputs.py": "what stands behind the last layer, and makes scores of it",
    "acgraph/analysis/rules/recurrent.py": "how many gates and activations a rule counts",
    "acgraph/backends/ort/bounds.py": "which side of a constant a comparison asks for",
    "acgraph/backends/torch/losses.py": "which views move or round what is behind a Softmax",
    "acgraph/driver/latency/layer_times.py": "what ONNX Runtime fuses into a convolution",
    "acgraph/driver/space/reconstruction.py": "which layers are fitted anew by least squares",
    "acgraph/ir/assume.py": "what each layer wants of its input, case by case",
    "acgraph/ir/conditions.py": "what sizes are picked and put together with",
    "acgraph/ir/fold.py": "how constants are computed: numpy functions",
    "acgraph/ir/growth.py": "which results may be far larger than the inputs",
    "acgraph/ir/guess.py": "how exporters prepare an input, and which layer then tells its size",
    "acgraph/ir/microsoft/known.py": "ranks, for operators of two domains",
    "acgraph/ir/microsoft/layers.py": "which activations ONNX Runtime fuses into a layer",
    "acgraph/ir/microsoft/layout.py": "which operators of the NCHWc domain have standard names",
    "acgraph/lowering/rewrite.py": "what a weight is followed through, case by case",
    "passes/eliminate_dead_nodes.py": "which nodes change nothing, each by a function",
    "passes/fuse_batchnorm.py": "which layers are scaled, each by a function",
    "passes/insert_batchnorm.py": "which normalisations make another one needless",
    "passes/untie_fills.py": "which operators do not hand on a fill alone",
}


@pytest.mark.parametrize(
    ("field", "functions"),
    [
        ("rule", RULES),
        ("resize", RESIZES),
        ("macs", COUNTS),
        ("batch", BATCH_RULES),
        ("layer", MATRICES),
        ("kernel", KERNELS),
    ],
)
def test_every_function_is_named_and_every_name_is_a_function(field, functions):
    named = {getattr(operator, field) for operator in OPERATORS.values()} - {""}
    assert named == set(functions)


def _lists(path: Path) -> Iterator[int]:
    """Yield the lines of the literals that list operators."""
    for node in ast.walk(ast.parse(path.read_text())):
        elements: list[ast.expr | None] = []
        if isinstance(node, ast.Set | ast.List | ast.Tuple):
            elements = list(node.elts)
        elif isinstance(node, ast.Dict):
            elements = list(node.keys)
        words = [each.value for each in elements if isinstance(each, ast.Constant)]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.split()
            words = words if all(word in OPERATORS for word in words) else []
        if sum(word in OPERATORS for word in words) >= LIST:
            yield node.lineno


@cache
def _owners_of_lists() -> frozenset[str]:
    """Name the modules that list operators; the table and the kernels, which must, aside."""
    found = set()
    for top in ("acgraph", "passes", "cli"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(ASIDE) and next(_lists(path), None) is not None:
                found.add(name)
    return frozenset(found)


def test_nobody_else_keeps_a_list_of_operators():
    new = _owners_of_lists() - set(OTHER_QUESTIONS)
    assert not new, "read acgraph.operators, or say here what else is asked"


def test_every_other_question_is_still_asked():
    assert set(OTHER_QUESTIONS) <= _owners_of_lists()


def test_a_list_is_found(tmp_path):
    path = tmp_path / "m.py"
    path.write_text(
        'A = ["Conv", "Relu", "Gemm"]\nB = "Conv Relu Gemm".split()\nC = ("Conv", "x")\n'
    )
    assert list(_lists(path)) == [1, 2]
