"""The table of operators: one entry for each supported operator of ONNX's default domain.

Other modules look up operators here, by name or by trait, and keep no lists of their own. This
package imports no other part of acgraph. To add an operator, add its entry here, its kernel in
`acgraph.backends.torch.ops`, and a test, and generate docs/operators.md.
"""

from collections.abc import Iterable

from acgraph.operators import (
    elementwise,
    fenced,
    indexing,
    movement,
    normalisations,
    numbers,
    products,
    reductions,
    windows,
)
from acgraph.operators.domains import foreign_fence, is_standard
from acgraph.operators.entry import CONTROL_ROLES, Input, Operator, Role, Trait


def _joined(*tables: Iterable[Operator]) -> dict[str, Operator]:
    found: dict[str, Operator] = {}
    for table in tables:
        for operator in table:
            if operator.name in found:
                raise ValueError(f"two entries for {operator.name}")
            found[operator.name] = operator
    return dict(sorted(found.items()))


OPERATORS = _joined(
    elementwise.TABLE,
    fenced.TABLE,
    indexing.TABLE,
    movement.TABLE,
    normalisations.TABLE,
    numbers.TABLE,
    products.TABLE,
    reductions.TABLE,
    windows.TABLE,
)


def find_operator(op: str, domain: str | None) -> Operator | None:
    """Return the entry of an operator; None where it has another domain or no entry."""
    return OPERATORS.get(op) if is_standard(domain) else None


def operators_with(*traits: Trait) -> frozenset[str]:
    """Return the names of the operators with at least one of these traits."""
    return frozenset(name for name, each in OPERATORS.items() if not each.traits.isdisjoint(traits))


def inputs_with(*roles: Role) -> frozenset[tuple[str, int]]:
    """Return the inputs with one of these roles, as pairs of operator name and input index."""
    return frozenset((name, i) for name, each in OPERATORS.items() for i in each.places(*roles))


__all__ = [
    "CONTROL_ROLES",
    "OPERATORS",
    "Input",
    "Operator",
    "Role",
    "Trait",
    "find_operator",
    "foreign_fence",
    "inputs_with",
    "is_standard",
    "operators_with",
]
