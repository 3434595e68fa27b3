"""What the report says of the quantised model, and that it says nothing where there is none."""

import io
import json

import pytest
from rich.console import Console

from acgraph.report import Int8, LatencyMs, Report, render_page, render_summary


def _printed(report: Report) -> str:
    file = io.StringIO()
    Console(file=file, width=120).print(render_summary(report))
    return file.getvalue()


@pytest.fixture
def quantised(report: Report) -> Report:
    int8 = Int8(
        bytes=43_200, bytes_rate=3.52, latency_ms=LatencyMs(p50=0.452, p90=0.5),
        latency_rate=1.57, accuracy=0.9137, examples=300,
    )  # fmt: skip
    return report.model_copy(update={"int8": int8})


def test_json_has_the_section_and_reads_back(quantised: Report, report: Report) -> None:
    data = json.loads(quantised.to_json())
    assert data["schema"] == 1
    assert data["int8"] == {
        "bytes": 43_200, "bytes_rate": 3.52, "latency_ms": {"p50": 0.452, "p90": 0.5},
        "latency_rate": 1.57, "accuracy": 0.9137, "examples": 300,
    }  # fmt: skip
    assert Report.model_validate_json(quantised.to_json()) == quantised
    assert json.loads(report.to_json())["int8"] is None


def test_terminal_and_page_have_a_column(quantised: Report, report: Report) -> None:
    lines = _printed(quantised).splitlines()
    for label, figure in (("bytes", "43.2 kB"), ("latency", "0.452 ms"), ("accuracy", "91.37 %")):
        assert next(line for line in lines if line.startswith(label)).rstrip().endswith(figure)
        assert f"<td>{figure}</td>" in render_page(quantised)
    said = "int8: 3.52x fewer bytes, 1.57x faster than the compact model"
    assert said in [line.strip() for line in lines]
    page = render_page(quantised)
    assert said[1:] in page
    assert "300 training examples" in page
    assert "the equivalence check does\n  not cover it" in page
    assert "int8" not in _printed(report) + render_page(report)


@pytest.mark.parametrize(("rate", "said"), [(0.85, "not faster (0.85x)"), (1.01, "not faster")])
def test_not_faster_and_not_smaller_are_said(quantised: Report, rate: float, said: str) -> None:
    assert quantised.int8 is not None
    slow = quantised.int8.model_copy(update={"latency_rate": rate, "bytes_rate": 0.9})
    worse = quantised.model_copy(update={"int8": slow})
    for text in (_printed(worse), render_page(worse)):
        assert said in text
        assert "not smaller (0.90x)" in text


def test_what_was_not_measured_is_not_said(quantised: Report) -> None:
    assert quantised.int8 is not None
    untimed = quantised.int8.model_copy(update={"latency_ms": None, "latency_rate": None})
    text = _printed(quantised.model_copy(update={"int8": untimed}))
    assert "int8: 3.52x fewer bytes than the compact model" in text
