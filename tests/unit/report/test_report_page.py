import json
import re
from html.parser import HTMLParser

import pytest

from acgraph.errors import OutputError
from acgraph.report import AdmmUpdate, Report, render_page, verdict, write_report
from acgraph.report.charts import layer_chart, residuals_chart, rounds_chart

_VOID = {"meta", "circle", "line", "rect", "polyline", "br"}
_OPTIONAL = {"html", "tr", "td", "th", "p"}


class Outline(HTMLParser):
    """Collects text, tags and attributes, and refuses wrong nesting."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text, self.bars = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in _VOID:
            return
        while self.open[-1] != tag and self.open[-1] in _OPTIONAL:
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parse(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    return outline


def test_page_is_well_formed_and_self_contained(report):
    outline = parse(render_page(report))
    assert set(outline.open) <= _OPTIONAL
    tags = {tag for tag, _ in outline.seen}
    assert not tags & {"script", "link", "img", "iframe"}
    assert not any({"src", "href"} & set(attrs) for _, attrs in outline.seen)
    assert "http" not in render_page(report).replace("<!doctype html>", "")


def test_page_says_the_verdict_and_every_part(report):
    text = " ".join("".join(parse(render_page(report)).text).split())
    assert all(part[1:] in text for part in verdict(report).split(", "))
    for part in ("269,722", "8.07x", "/fc/Gemm", "its output is an output", "4 min 3 s", "1.32.0"):
        assert part in text


def test_bars_are_as_long_as_the_weights(report):
    rects = [attrs for tag, attrs in parse(render_page(report)).seen if tag == "rect"]
    assert len(rects) == 2 * len(report.layers)
    longest = max(float(r["width"]) for r in rects)
    weights = [layer.filters[i] * layer.columns[i] for layer in report.layers for i in (0, 1)]
    for rect, weight in zip(rects, weights, strict=True):
        assert float(rect["width"]) == pytest.approx(longest * weight / max(weights), abs=0.01)


def test_points_of_different_splits_are_not_joined(report):
    page = render_page(report)
    chart = rounds_chart(report)
    (line,) = re.findall(r'points="([^"]+)"', chart)
    marks = re.findall(r'class="mark" cx="([\d.]+)" cy="([\d.]+)"', chart)
    ends = re.findall(r'class="end" cx="([\d.]+)" cy="([\d.]+)"', chart)
    assert line.split() == [f"{x},{y}" for x, y in marks]
    assert len(marks) == len(report.rounds)
    assert len(ends) == 2
    assert not set(ends) & set(marks)
    assert [re.findall(r">([\w.]+)</text>", chart)[i] for i in range(5)] == [
        *("2x", "4x", "8.08x", "original", "result")
    ]
    for split in ("selection split", "report split"):
        assert split in page
    lower = report.model_copy(update={"after": report.after.model_copy(update={"accuracy": 0.5})})
    heights = [
        float(y)
        for _, y in re.findall(r'class="end" cx="([\d.]+)" cy="([\d.]+)"', rounds_chart(lower))
    ]
    assert heights[1] > heights[0]


def test_residuals_are_drawn_where_admm_ran(report):
    assert "<h2>ADMM</h2>" not in render_page(report)
    updates = [
        [AdmmUpdate(primal=1e-1, dual=1e-2, rho=1.0), AdmmUpdate(primal=1e-2, dual=1e-3, rho=1.3)],
        [AdmmUpdate(primal=1e-2, dual=0.0, rho=1.7), AdmmUpdate(primal=1e-3, dual=0.0, rho=2.2)],
        [],
    ]
    rounds = tuple(
        entry.model_copy(update={"admm": found})
        for entry, found in zip(report.rounds, updates, strict=True)
    )
    trained = report.model_copy(update={"rounds": rounds})
    chart = residuals_chart(trained)
    lines = dict.fromkeys(("best", "best dual"), ())
    for kind, points in re.findall(r'<polyline class="([\w ]+)" points="([^"]+)"', chart):
        lines[kind] += tuple(float(p.split(",")[1]) for p in points.split())
    primal, dual = lines["best"], lines["best dual"]
    assert len(primal) == len(dual) == 4
    # Logarithmic: each factor of ten is the same step down.
    assert primal[1] - primal[0] == pytest.approx(primal[3] - primal[2], abs=0.2)
    assert primal[2] == primal[1] == dual[0]
    assert dual[2] == dual[3] == max(*primal, *dual)
    assert chart.count('class="rule"') == 1
    assert "<h2>ADMM</h2>" in render_page(trained)


def test_the_chart_never_shows_growth_as_none(report):
    rounds = tuple(r.model_copy(update={"rate": 0.996}) for r in report.rounds)
    assert ">0.99x<" in rounds_chart(report.model_copy(update={"rounds": rounds}))


def test_names_cannot_inject_markup(report):
    layer = report.layers[0].model_copy(update={"name": "<script>x</script>"})
    page = render_page(report.model_copy(update={"layers": (layer,)}))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_empty_parts_are_left_out(report):
    bare = report.model_copy(update={"layers": (), "rounds": (), "search": (), "fences": ()})
    page = render_page(bare)
    assert "<h2>Rounds</h2>" not in page
    assert "<h2>Layers</h2>" not in page
    assert "<svg" not in page
    assert "every layer could be cut" in page


def test_many_layers_are_summed_up(report):
    many = report.model_copy(update={"layers": report.layers * 20})
    assert "120 more layers" in render_page(many)


def test_labels_differ_as_the_names_do(report):
    long = "/layer{}/layer{}.0/downsample/downsample.0/Conv"
    names = [long.format(n, n) for n in (2, 3)] + ["/fc/Gemm"]
    layers = [report.layers[0].model_copy(update={"name": name}) for name in names]
    labels = re.findall(r'class="name"[^>]*>(?:<title>.*?</title>)?([^<]*)<', layer_chart(layers))
    assert len(set(labels)) == 3
    assert labels[2] == "/fc/Gemm"
    assert max(map(len, labels)) <= 30


def test_both_files_are_written(report, tmp_path):
    write_report(report, tmp_path / "new" / "deep")
    folder = tmp_path / "new" / "deep"
    assert Report.model_validate(json.loads((folder / "report.json").read_text())) == report
    assert (folder / "report.html").read_text() == render_page(report)


def test_a_folder_that_is_a_file_is_an_output_error(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be created"):
        write_report(report, tmp_path / "file")
