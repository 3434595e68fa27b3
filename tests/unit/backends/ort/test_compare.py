"""When a comparison says nothing, because the reference does not depend on the inputs."""

import numpy as np

from acgraph.backends.ort.compare import Comparison


def _is_vacuous(*references: np.ndarray) -> bool:
    entry = Comparison("y")
    for each in references:
        entry.add(each, each)
    return entry.is_vacuous


def test_outputs_of_other_shapes_are_not_the_same() -> None:
    first, longer = np.arange(3.0), np.arange(4.0)
    assert not _is_vacuous(first, longer)
    assert not _is_vacuous(first, longer, longer + 1)


def test_the_same_output_for_several_inputs_says_nothing() -> None:
    first, longer = np.arange(3.0), np.arange(4.0)
    assert _is_vacuous(first, first)
    assert _is_vacuous(first, longer, first)
    assert _is_vacuous(first, longer, longer)
    assert not _is_vacuous(first, first + 1)


def test_one_number_throughout_says_nothing() -> None:
    assert _is_vacuous(np.ones(3), np.ones(4))
    assert not _is_vacuous(np.ones(3), np.full(4, 2.0))
