"""Texts of counts and of lists of names."""

import pytest

from acgraph.diagnostics import listed


@pytest.mark.parametrize(
    ("names", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")],
)
def test_names_beyond_the_first_are_counted(names: list[str], text: str) -> None:
    assert listed(names, 2) == text
