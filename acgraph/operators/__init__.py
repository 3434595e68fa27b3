"""The one table of operators: an entry for each operator of ONNX's default domain that is known.

Who wants to know something of an operator asks here, by name or by trait, and keeps no list.
Nothing of the program is imported, so that everything may ask. To add an operator: its entry here,
its kernel in `acgraph.backends.torch.ops`, and a test; docs/operators.md is made anew.
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
from acgraph.operators.entry import STATING, Input, Operator, Role, Trait


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
    """Return the entry of an operator; None where it is of another domain, or not known."""
    return OPERATORS.get(op) if is_standard(domain) else None


def operators_with(*traits: Trait) -> frozenset[str]:
    """Name the operators that have one of these traits."""
    return frozenset(name for name, each in OPERATORS.items() if not each.traits.isdisjoint(traits))


def inputs_with(*roles: Role) -> frozenset[tuple[str, int]]:
    """List the inputs that have one of these roles, as operator and index."""
    return frozenset((name, i) for name, each in OPERATORS.items() for i in each.places(*roles))


__all__ = [
    "OPERATORS",
    "STATING",
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
