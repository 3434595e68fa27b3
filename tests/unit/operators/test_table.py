"""The table of operators is the one place that says what an operator is."""

import pytest

from acgraph.analysis.batch.plan import RULES as BATCH_RULES
from acgraph.analysis.layers import MATRICES
from acgraph.analysis.macs import COUNTS
from acgraph.analysis.rules import RESIZES, RULES
from acgraph.backends.torch.ops import KERNELS
from acgraph.operators import OPERATORS


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
