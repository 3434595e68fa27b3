"""The page of a difference, read as a browser would."""

import re
from html.parser import HTMLParser

import pytest

from acgraph.difference import diff_models
from acgraph.driver.prune import prune
from acgraph.ir import Model, clone_model
from acgraph.models.resnet import resnet_cifar
from acgraph.report import render_diff_page
from acgraph.report.charts import MAX_LAYERS
from acgraph.report.diff_page import MAX_LINES


class Table(HTMLParser):
    """Collects the rows of tables, whether they are marked, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[bool, list[str]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._is_open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append((dict(attrs).get("class") == "changed", []))
        if tag in ("td", "th"):
            self.rows[-1][1].append("")
            self._is_open = True

    def handle_endtag(self, tag: str) -> None:
        self._is_open = self._is_open and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._is_open:
            self.rows[-1][1][-1] += f" {data.strip()}"


@pytest.fixture(scope="module")
def models() -> tuple[Model, Model]:
    first = resnet_cifar(8, widths=(8, 8, 16), image=8)
    return first, prune(first, sparsity=0.5).model


def page(first: Model, second: Model) -> str:
    diff = diff_models(first, second)
    return render_diff_page(diff, first, second, before="a.onnx", after="b<i>.onnx")


def read(text: str) -> Table:
    table = Table()
    table.feed(text)
    return table


def test_every_layer_is_told_with_its_sizes_and_what_was_cut(models):
    first, second = models
    rows = {cells[0].strip(): (marked, cells) for marked, cells in read(page(*models)).rows}
    weights = {n.name: n.inputs[1].values.shape for n in first.graph.nodes if n.op == "Conv"}
    made = {n.name: n.inputs[1].values.shape for n in second.graph.nodes if n.op == "Conv"}
    assert len(weights) > 6
    for name, shape in weights.items():
        marked, cells = rows[name]
        old, new = shape, made[name]
        assert cells[1].split() == [str(old[0]), "×", str(old[1] * old[2] * old[3]), "Conv"]
        assert cells[2].split()[:3] == [str(new[0]), "×", str(new[1] * new[2] * new[3])]
        assert marked == (old != new)
        cut = re.search(r"(\d+) filters? cut", cells[3])
        assert (int(cut[1]) if cut else 0) == old[0] - new[0]


def test_cost_and_operators_are_told(models):
    first, _ = models
    text = page(*models)
    diff = diff_models(*models)
    rows = [cells for _, cells in read(text).rows]
    params = next(cells for cells in rows if cells[0].strip() == "params")
    assert params[1].strip() == f"{diff.cost_before.params:,}"
    assert params[2].strip() == f"{diff.cost_after.params:,}"
    convs = next(cells for cells in rows if cells[0].strip() == "Conv")
    assert int(convs[1]) == sum(node.op == "Conv" for node in first.graph.nodes)
    assert "fewer params</h1>" in text


def test_the_page_needs_nothing_else_and_escapes_names(models):
    text = page(*models)
    tags = read(text).tags
    assert not {"link", "img", "iframe", "object", "form"} & {tag for tag, _ in tags}
    assert not any("src" in attrs for _, attrs in tags)
    assert all(attrs.get("href", "#").startswith("#") for _, attrs in tags)
    assert "Content-Security-Policy" in text
    assert "b&lt;i&gt;.onnx" in text
    assert "<i>" not in text


def test_equal_models_are_said_to_be_so(models):
    text = page(models[0], clone_model(models[0]))
    assert "The models are the same" in text
    assert "Every change" not in text
    assert 'class="changed"' not in text


def test_long_lists_are_cut_and_said_to_be(models, monkeypatch):
    monkeypatch.setattr("acgraph.report.diff_page.MAX_LINES", 3)
    text = page(*models)
    assert text.count("<li>") == 3
    assert re.search(r"and \d+ more; acgraph diff --format json", text)
    assert MAX_LINES > MAX_LAYERS
