"""docs/operators.md says what the table of rules says."""

from pathlib import Path

import onnx.defs

from acgraph.analysis.operators_page import page
from acgraph.backends.torch.ops import BUILDERS
from acgraph.operators import OPERATORS

ROOT = Path(__file__).parents[3]


def test_the_page_is_current() -> None:
    assert (ROOT / "docs/operators.md").read_text(encoding="utf-8") == page()


def test_every_rule_is_of_an_operator_and_says_how() -> None:
    known = {s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == ""}
    assert set(OPERATORS) <= known
    for line in page().splitlines():
        if line.startswith("| ") and not line.startswith("| operator"):
            assert all(cell.strip() for cell in line.strip("|").split(" | ")), line


def test_most_operators_of_inference_have_a_rule() -> None:
    """The list of NNI's test of automatic grouping, and what exporters write today."""
    asked = (
        "Conv ConvTranspose Gemm MatMul Einsum Add Sub Mul Div Pow Sqrt Exp Log Erf Relu Sigmoid "
        "Tanh Softmax Gelu HardSwish PRelu Clip Concat Split Slice Reshape Transpose Flatten "
        "Squeeze Unsqueeze Expand Tile Pad Gather GatherND ScatterND DepthToSpace SpaceToDepth "
        "MaxPool AveragePool GlobalAveragePool ReduceMean ReduceSum Resize Upsample LSTM GRU RNN "
        "BatchNormalization InstanceNormalization GroupNormalization LayerNormalization Where TopK"
    )
    assert not [op for op in asked.split() if op not in OPERATORS or not OPERATORS[op].is_cut]


def test_the_page_says_what_is_cut_and_cannot_be_trained() -> None:
    rows = [line.strip("| ").split(" | ") for line in page().splitlines() if " | " in line]
    said = {row[0]: row[1:3] for row in rows if len(row) == 5 and row[0] in OPERATORS}
    assert said.keys() == OPERATORS.keys()
    for name, (prune, train) in said.items():
        can_train = name in BUILDERS
        assert train.strip("*") == ("yes" if can_train else "no"), name
        if prune.startswith("exact") and not can_train:
            assert train == "**no**", f"{name} is cut, cannot be trained, and the page hides it"
