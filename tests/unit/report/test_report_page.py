import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from acgraph.errors import OutputError
from acgraph.report import (
    AdmmUpdate,
    Fence,
    LayerChange,
    LayerForm,
    RemovedUnits,
    Report,
    SearchPoint,
    TrainingPass,
    render_page,
    verdict,
    write_report,
)
from acgraph.report.charts import layer_chart, residuals_chart, rounds_chart
from acgraph.report.run_charts import cost_chart, search_chart, training_chart

_VOID = {"meta", "input", "circle", "line", "rect", "polyline", "br"}
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
    assert not tags & {"link", "img", "iframe", "object", "form"}
    assert not any("src" in attrs for _, attrs in outline.seen)
    assert all(attrs.get("href", "#").startswith("#") for _, attrs in outline.seen)
    assert "http:" not in render_page(report)
    assert "https:" not in render_page(report)


def test_the_policy_allows_the_scripts_of_the_page_and_no_others(report):
    layers = (layer_with("0-3"), *report.layers)
    page = render_page(report.model_copy(update={"layers": layers}))
    (policy,) = [
        attrs["content"]
        for tag, attrs in parse(page).seen
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert set(rules) == {"default-src", "script-src", "style-src", "base-uri", "form-action"}
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert len(scripts) == 2
    assert rules["script-src"] == " ".join(f"'sha256-{each}'" for each in hashes)


def layer_with(filters: str, columns: str = "", name: str = "cut") -> LayerChange:
    return LayerChange(
        name=name, op_type="Conv", filters=(8, 4), columns=(18, 18), macs=(800, 400),
        latency_ms=(0.5, 0.25), lowering="gather",
        removed=RemovedUnits(filters=filters, columns=columns, kernel=(3, 3)),
        forms=(LayerForm(form="dense", columns=18, params=80),
               LayerForm(form="gather", columns=9, params=44, latency_ms=0.012, chosen=True)),
    )  # fmt: skip


def test_errors_of_refitted_layers_are_columns(report):
    layers = layer_with("0"), layer_with("0", name="other")
    assert "error, refit" not in render_page(report.model_copy(update={"layers": layers}))
    fitted = layers[0].model_copy(update={"fit_error": (0.25, 0.125)})
    page = render_page(report.model_copy(update={"layers": (fitted, layers[1])}))
    assert "error, refit" in page
    assert '<td data-v="0.25">0.250</td><td data-v="0.125">0.125</td></tr>' in page
    heads = re.search(r"<tr>\s*(<th scope.*?)</tr>", page, re.S)
    rows = re.findall(r'<tr><td class="name" data-v.*?</tr>', page, re.S)
    assert {len(re.findall("<td", row)) for row in rows} == {heads[1].count("<th ")}


def test_masks_are_data_of_the_page(report):
    layers = (layer_with("0-2 5", "0-8", "a</script><b>"), layer_with("", "", "whole"))
    page = render_page(report.model_copy(update={"layers": layers}))
    (text,) = re.findall(r'<script type="application/json" id="data-masks">(.*?)</script>', page)
    (mask,) = json.loads(text)
    assert mask["name"] == "a</script><b>"
    assert (mask["filters"], mask["columns"], mask["kernel"]) == (8, 18, [3, 3])
    assert (mask["goneFilters"], mask["goneColumns"]) == ("0-2 5", "0-8")
    assert mask["text"] == "4 of 8 filters, 9 of 18 columns"
    assert "1 layer kept all filters and columns" in page
    assert page.count("data-mask=") == 1


def test_layers_are_compared_side_by_side(report):
    page = render_page(report.model_copy(update={"layers": (layer_with("0-3"),)}))
    (row,) = re.findall(r'<tr><td class="name" data-v="cut">.*?</tr>', page, re.S)
    values = re.findall(r'data-v="([\d.]+)"', row)
    assert values == ["0.5", "8", "4", "18", "18", "800", "400", "500.0", "250.0"]
    assert page.count("data-column=") == 3 + 8
    assert "time in µs" not in render_page(report).split("<h2 id")[2]


def test_every_form_of_a_layer_is_listed_with_its_cost(report):
    page = render_page(report.model_copy(update={"layers": (layer_with("0-3"),)}))
    part = page[page.index('<h2 id="forms">') : page.index('<h2 id="fences">')]
    text = " ".join(" ".join(parse(part).text).split())
    assert "cut: gather of 2 forms" in text
    assert "gather (chosen) 9 44 12.0" in text
    assert "dense 18 80" in text
    assert '<h2 id="forms">' not in render_page(report)


def test_fences_are_listed_by_their_share(report):
    fences = (Fence(node="a", reason="r", share=0.1), Fence(node="b", reason="s", share=0.6))
    page = render_page(report.model_copy(update={"fences": fences}))
    part = page[page.index('<h2 id="fences">') :]
    assert part.index(">b<") < part.index(">a<")
    assert "60.0 %" in part


def test_the_search_shows_what_annealing_accepted(report):
    points = [
        SearchPoint(round=1, score=0.5, best=0.5, cost=0.9, accepted=True, temperature=0.0),
        SearchPoint(round=1, score=0.6, best=0.6, cost=1.0, accepted=True, temperature=0.2,
                    chosen=True),
        SearchPoint(round=1, score=0.4, best=0.6, cost=0.95, temperature=0.1),
    ]  # fmt: skip
    searched = report.model_copy(update={"search": tuple(points)})
    for chart in (search_chart(searched), cost_chart(searched)):
        titles = re.findall(r'<circle class="(\w*)".*?<title>([^<]*)</title>', chart)
        assert [kind for kind, _ in titles] == ["mark", "end", ""]
        assert titles[1][1] == (
            "round 1: score 0.6, cost 1 of the budget, temperature 0.2, accepted, chosen"
        )
    assert search_chart(searched).count('class="heat"') == 1
    assert "temperature of annealing, from 0.2" in render_page(searched)
    assert "temperature" not in search_chart(report)
    assert cost_chart(report) == ""


def test_training_is_one_curve_per_stage(report):
    passes = [("round 1: ADMM", 1.0, 2.0), ("round 1: ADMM", 2.0, 1.5), ("fine-tune", 1.0, 1.0),
              ("fine-tune", 2.0, None)]  # fmt: skip
    training = tuple(
        TrainingPass(stage=stage, epoch=epoch, loss=loss, learning_rate=0.1, seconds=epoch)
        for stage, epoch, loss in passes
    )
    trained = report.model_copy(update={"training": training})
    chart = training_chart(trained)
    lines = re.findall(r'points="([^"]+)"', chart)
    assert [len(line.split()) for line in lines] == [2, 1]
    assert "fine-tune, 1 epoch: loss 1, learning rate 0.1" in chart
    assert '<h2 id="training">' in render_page(trained)
    assert training_chart(report) == ""


def test_the_options_of_a_run_are_a_configuration_file(report):
    options = {"model": "a b.onnx", "target_rate": 8.0, "train": {"batch_size": 64}}
    model = report.model.model_copy(update={"path": "a b.onnx"})
    page = render_page(report.model_copy(update={"options": options, "model": model}))
    text = "".join(parse(page).text)
    assert "target_rate: 8.0\ntrain:\n  batch_size: 64" in text
    assert "acgraph compress 'a b.onnx' --config run.yaml" in text


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
    assert '<h2 id="admm">' not in render_page(report)
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
    assert '<h2 id="admm">' in render_page(trained)


def test_the_chart_never_shows_growth_as_none(report):
    rounds = tuple(r.model_copy(update={"rate": 0.996}) for r in report.rounds)
    assert ">0.99x<" in rounds_chart(report.model_copy(update={"rounds": rounds}))


def test_names_cannot_inject_markup(report):
    layer = report.layers[0].model_copy(update={"name": "<script>x</script>"})
    page = render_page(report.model_copy(update={"layers": (layer,)}))
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page


def test_empty_parts_are_left_out(report):
    bare = report.model_copy(update={"layers": (), "rounds": (), "search": (), "fences": ()})
    page = render_page(bare)
    assert '<h2 id="rounds">' not in page
    assert '<h2 id="layers">' not in page
    assert "<svg" not in page
    assert "every layer could be cut" in page


def test_many_layers_are_summed_up(report):
    many = report.model_copy(update={"layers": report.layers * 20})
    assert "120 more layers" in layer_chart(many.layers)
    assert render_page(many).count('<td class="name" data-v=') == 240


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
