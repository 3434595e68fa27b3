"""A report says first that almost nothing was cut, why, and what would help."""

import io

import pytest
from rich.console import Console

from acgraph.report import Holding, render_summary, verdict
from acgraph.report.verdict import hint


def scant(report, rate: float, *holding: Holding, asked: float | None = 2.0):
    """A report of a run that reached this rate of params and missed its target."""
    return report.model_copy(
        update={
            "rate": report.rate.model_copy(update={"params": rate}),
            "target": report.target.model_copy(update={"met": False, "rate": asked}),
            "holding": holding,
        }
    )


NORM = Holding(nodes=("norm1", "norm2"), reason="normalises over the axis", share=0.9, inexact=True)
SIZE = Holding(nodes=("Reshape_1",), reason="the shape of 'y' is unknown", share=0.5, inexact=False)
SMALL = Holding(nodes=("gather",), reason="takes it apart", share=0.01, inexact=False)


def test_the_node_that_holds_most_is_named(report) -> None:
    text = verdict(scant(report, 1.01, NORM, SIZE))
    assert text.startswith(
        "target missed: 1.01x fewer params (asked for 2x): almost nothing could be cut; 90 % "
        "of the weights cannot be cut because of 'norm1' and 1 other node (normalises over "
        "the axis)"
    )


def test_what_holds_little_is_not_blamed(report) -> None:
    assert "almost nothing could be cut, " in verdict(scant(report, 1.01, SMALL))
    assert hint(scant(report, 1.01, SMALL)) == ""


@pytest.mark.parametrize(
    ("rate", "asked", "is_said"),
    [(1.05, 2.0, True), (1.06, 2.0, False), (1.0, None, True), (1.01, None, False)],
)
def test_less_than_a_tenth_of_what_was_asked_is_little(report, rate, asked, is_said) -> None:
    assert ("almost nothing" in verdict(scant(report, rate, NORM, asked=asked))) == is_said


@pytest.mark.parametrize(
    ("holding", "said"),
    [
        (NORM, "--allow-inexact would allow cuts in 90 % of the weights."),
        (SIZE, "--input-shape may help"),
    ],
)
def test_a_missed_target_comes_with_what_helps(report, holding, said) -> None:
    missed = scant(report, 1.5, holding)
    assert hint(missed).startswith(said)
    console = Console(file=io.StringIO(), width=120)
    console.print(render_summary(missed))
    assert console.file.getvalue().splitlines()[1].startswith(said)
    assert hint(report.model_copy(update={"holding": (holding,)})) == ""


def test_names_cannot_command_the_terminal(report) -> None:
    bad = NORM.model_copy(update={"nodes": ("a\x1b[31m",)})
    assert "\x1b" not in verdict(scant(report, 1.0, bad))
