"""The verdict says that almost nothing was cut, and why; a hint suggests an option."""

import io

import pytest
from rich.console import Console

from acgraph.report import Obstacle, render_summary, verdict
from acgraph.report.verdict import hint


def scant(report, rate: float, *obstacles: Obstacle, asked: float | None = 2.0):
    """A report of a run that reached this rate of params and missed its target."""
    return report.model_copy(
        update={
            "rate": report.rate.model_copy(update={"params": rate}),
            "target": report.target.model_copy(update={"met": False, "rate": asked}),
            "obstacles": obstacles,
        }
    )


NORM = Obstacle(
    nodes=("norm1", "norm2"), reason="normalises over the axis", share=0.9, inexact=True
)
SIZE = Obstacle(
    nodes=("Reshape_1",), reason="the shape of 'y' is unknown", share=0.5, inexact=False
)
SMALL = Obstacle(nodes=("gather",), reason="takes it apart", share=0.01, inexact=False)


def test_the_main_obstacle_is_named(report) -> None:
    text = verdict(scant(report, 1.01, NORM, SIZE))
    assert text.startswith(
        "target missed: 1.01x fewer params (asked for 2x): almost nothing could be cut; 90 % "
        "of the weights cannot be cut because of 'norm1' and 1 other node (normalises over "
        "the axis)"
    )


def test_an_obstacle_for_few_weights_is_not_named(report) -> None:
    assert "almost nothing could be cut, " in verdict(scant(report, 1.01, SMALL))
    assert hint(scant(report, 1.01, SMALL)) == ""


@pytest.mark.parametrize(
    ("rate", "asked", "is_named"),
    [(1.05, 2.0, True), (1.06, 2.0, False), (1.0, None, True), (1.01, None, False)],
)
def test_less_than_a_tenth_of_the_request_is_almost_nothing(report, rate, asked, is_named) -> None:
    assert ("almost nothing" in verdict(scant(report, rate, NORM, asked=asked))) == is_named


@pytest.mark.parametrize(
    ("obstacle", "expected"),
    [
        (NORM, "--allow-inexact would allow cuts in 90 % of the weights."),
        (SIZE, "--input-shape may help"),
    ],
)
def test_a_missed_target_comes_with_a_suggestion(report, obstacle, expected) -> None:
    missed = scant(report, 1.5, obstacle)
    assert hint(missed).startswith(expected)
    console = Console(file=io.StringIO(), width=120)
    console.print(render_summary(missed))
    assert console.file.getvalue().splitlines()[1].startswith(expected)
    assert hint(report.model_copy(update={"obstacles": (obstacle,)})) == ""


def test_names_cannot_command_the_terminal(report) -> None:
    bad = NORM.model_copy(update={"nodes": ("a\x1b[31m",)})
    assert "\x1b" not in verdict(scant(report, 1.0, bad))
