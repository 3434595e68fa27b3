"""The pages in a browser: they work, they ask for nothing, and no name in a model breaks them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import acgraph
from acgraph.report import (
    Fence,
    LatencyMs,
    LayerChange,
    ModelInfo,
    RemovedUnits,
    Report,
    Side,
    Target,
    Verification,
    rates_between,
    render_page,
)

HOSTILE = '<img src=x onerror="window.broken=1"></script><script>window.broken=1</script>'

#: Returns each visible text with its contrast with its background, as WCAG 2 defines it. The canvas
#: of a graph writes --g-ink on the colours of states; other colours of text stand on both papers.
CONTRASTS = """
const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const known = new Map();
const read = (colour) => {
  if (!known.has(colour)) known.set(colour, drawn(colour));
  return known.get(colour);
};
const drawn = (colour) => {
  pen.clearRect(0, 0, 1, 1);
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = ([r, g, b, a], below) => [r, g, b].map((x, k) => a * x + (1 - a) * below[k]);
const ground = (node) => {
  if (!node) return [255, 255, 255];
  const colour = read(getComputedStyle(node).backgroundColor);
  return colour[3] === 1 ? colour.slice(0, 3) : over(colour, ground(node.parentElement));
};
const light = (colour) => {
  const [r, g, b] = colour.map((x) => x / 255)
    .map((x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ratio = (ink, paper) => {
  const [low, high] = [light(ink), light(paper)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const alpha = (node) => node ? getComputedStyle(node).opacity * alpha(node.parentElement) : 1;
const found = [];
const add = (text, node, style) => {
  const [r, g, b, a] = read(node instanceof SVGElement ? style.fill : style.color);
  const paper = ground(node);
  found.push([text.trim(), ratio(over([r, g, b, a * alpha(node)], paper), paper)]);
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const node = texts.currentNode.parentElement;
  const isShown = node.checkVisibility() && !node.closest('.hidden');
  const { data } = texts.currentNode;
  if (isShown && data.trim()) add(data, node, getComputedStyle(node));
}
for (const node of document.querySelectorAll('input')) {
  for (const part of [null, '::placeholder']) add('input', node, getComputedStyle(node, part));
}
const root = getComputedStyle(document.documentElement);
const pair = (...names) => {
  const values = names.map((name) => root.getPropertyValue(`--${name}`));
  const colours = values.map((value) => read(value).slice(0, 3));
  if (values.every(Boolean)) found.push([names.join(), ratio(...colours)]);
};
for (const ink of ['ink', 'soft', 'good', 'warn', 'bad', 'mark']) {
  for (const paper of ['paper', 'panel']) pair(ink, paper);
}
for (const state of ['same', 'changed', 'resized', 'lowered', 'removed', 'added']) {
  pair('g-ink', `g-${state}`);
}
return found;
"""


def network(blocks: int, *, channels: int = 4, name: str = "/stage{0}/block{1}/{2}") -> bytes:
    """Make a chain of residual blocks of three nodes each, in stages of ten blocks."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for k in range(blocks):
        weight = rng.standard_normal((channels, channels, 1, 1)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{k}"))
        at = (k // 10, k)
        nodes += [
            helper.make_node("Conv", [last, f"w{k}"], [f"c{k}"], name=name.format(*at, "conv")),
            helper.make_node("Relu", [f"c{k}"], [f"r{k}"], name=name.format(*at, "relu")),
            helper.make_node("Add", [f"r{k}", last], [f"a{k}"], name=name.format(*at, "add")),
        ]
        last = f"a{k}"
    shape = [1, channels, 4, 4]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)], weights,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def inspected(folder: Path) -> Path:
    file = folder / "inspect.html"
    file.write_text(acgraph.inspect(network(12)).to_html())
    return file


@pytest.fixture(scope="module")
def compared(folder: Path) -> Path:
    file = folder / "diff.html"
    second = onnx.load_from_string(network(12))
    second.graph.node[4].op_type = "Tanh"
    file.write_text(acgraph.diff(network(12), second.SerializeToString()).to_html())
    return file


@pytest.fixture(scope="module")
def reported(folder: Path) -> Path:
    side = Side(params=100, macs=100, bytes=100, accuracy=0.9,
                latency_ms=LatencyMs(p50=1.0, p90=1.0))  # fmt: skip
    layers = [
        LayerChange(name=f"conv{k}", op_type="Conv", filters=(16, 8), columns=(27, 9 + k),
                    latency_ms=(0.5, 0.1 * k), macs=(900, 100 * k),
                    removed=RemovedUnits(filters="0-7", columns="0-8 12", kernel=(3, 3)))
        for k in (3, 1, 2)
    ]  # fmt: skip
    report = Report(
        model=ModelInfo(path=HOSTILE), before=side, after=side, rate=rates_between(side, side),
        target=Target(metric="params", rate=2.0, met=True), layers=tuple(layers),
        verify=Verification(max_abs_error=0.0, max_rel_error=0.0, passed=True),
        fences=(Fence(node=HOSTILE, reason=HOSTILE, share=0.1),),
        options={"data": HOSTILE},
    )  # fmt: skip
    file = folder / "report.html"
    file.write_text(render_page(report))
    return file


@pytest.fixture(autouse=True)
def no_complaint(page) -> None:
    """Every test of this module ends without an error, a request, or code from a name."""
    yield
    assert page.complaints() == []
    assert all(url.startswith("file:") for url in page.requests())
    assert page.run("return window.broken") is None
    page.run("localStorage.clear()")


def shown(page) -> str:
    return page.one(".graph .node h3").text


def search(page, text: str) -> None:
    page.one(".graph .tools input").send_keys(text)


@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 390)])
def test_the_report_opens_in_both_themes_and_on_a_phone(page, reported, dark, width) -> None:
    page.open(reported, dark=dark, width=width)
    ink = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (ink == "rgb(23, 25, 28)") == dark
    page.one("#theme").click()
    assert page.run("return getComputedStyle(document.body).backgroundColor") != ink
    page.one("#theme").click()
    assert page.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["reported", "inspected", "compared"])
def test_all_text_has_enough_contrast(page, request, name, dark) -> None:
    page.open(request.getfixturevalue(name), dark=dark)
    if name == "reported":
        page.all(".masks button")[0].click()
    else:
        search(page, "conv\ue007")
    found = page.run(CONTRASTS)
    assert len(found) > 40
    assert [(text, round(ratio, 2)) for text, ratio in found if ratio < 4.5] == []


def test_a_click_on_a_head_sorts_the_layers(page, reported) -> None:
    page.open(reported)
    head = page.all("#layer-table th[data-column]")[-1]
    rows = "[...document.querySelectorAll('#layer-table tbody tr')]"
    names = f"return {rows}.map(row => row.cells[0].dataset.v)"
    assert page.run(names) == ["conv3", "conv1", "conv2"]
    button = head.find_element("css selector", "button")
    button.click()
    assert page.run(names) == ["conv3", "conv2", "conv1"]
    assert head.get_attribute("aria-sort") == "descending"
    button.send_keys("\ue007")
    assert page.run(names) == ["conv1", "conv2", "conv3"]
    page.one("input[data-filters]").send_keys("conv2")
    assert [row.is_displayed() for row in page.all("#layer-table tbody tr")] == [False, True, False]


def test_a_mask_opens_and_names_what_was_removed(page, reported) -> None:
    page.open(reported)
    page.all(".masks button")[0].click()
    assert page.one("dialog").is_displayed()
    assert page.one("dialog h3").text == "conv3"
    assert "8 of 16 filters, 17 of 27 columns" in page.one("dialog .sizes").text
    # The lower right is kept, the upper left removed: two colours.
    colours = page.run(
        "const c = document.querySelector('dialog canvas'), [w, h] = [c.width, c.height];"
        "const { data } = c.getContext('2d').getImageData(0, 0, w, h);"
        "return [[0.02, 0.02], [0.98, 0.98]].map(([x, y]) => "
        "data.slice(4 * (Math.floor(h * y) * w + Math.floor(w * x))).slice(0, 3).join())"
    )
    assert len(set(colours)) == 2
    page.one("dialog canvas").send_keys("+++")
    page.one("dialog canvas").send_keys("\ue00c")
    assert not page.one("dialog").is_displayed()


@pytest.mark.parametrize("height", [600, 900])
def test_a_long_list_of_a_mask_ends_with_a_whole_line(page, reported, height) -> None:
    page.open(reported, height=height)
    gone = "document.querySelector('.gone-{}').textContent = '{}'"
    page.all(".masks button")[0].click()
    for name in ("filters", "columns"):
        page.run(gone.format(name, " ".join(map(str, range(0, 3000, 2)))))
    for box, line, scrolled in page.run(
        "return [...document.querySelectorAll('dialog .list')].map(list => [list.clientHeight,"
        "parseFloat(getComputedStyle(list).lineHeight), list.scrollHeight > list.clientHeight])"
    ):
        assert scrolled
        assert abs(box / line - round(box / line)) < 1 / line
    last = "document.querySelector('dialog .list:last-child').getBoundingClientRect().bottom"
    assert page.run(f"return {last}") <= height
    fits = "const d = document.querySelector('dialog'); return d.scrollHeight <= d.clientHeight"
    assert page.run(fits)
    page.one("dialog .close").click()


def test_a_search_finds_a_node_and_shows_it(page, inspected) -> None:
    page.open(inspected)
    before = int(page.one("#graph").get_attribute("data-vertices"))
    search(page, "block7/conv")
    (found,) = page.all(".graph .found button")
    found.click()
    assert shown(page) == "/stage0/block7/conv"
    text = page.one(".graph .node").text
    assert "4 × 4" in text
    assert "1×4×4×4" in text
    assert int(page.one("#graph").get_attribute("data-vertices")) >= before


def test_a_click_opens_a_node_and_keys_walk_along_edges(page, inspected) -> None:
    page.open(inspected)
    search(page, "block7/conv\ue007")
    canvas = page.one(".graph canvas")
    from selenium.webdriver import ActionChains

    page.run("arguments[0].scrollIntoView()", canvas)
    ActionChains(page.driver).move_to_element(canvas).click().perform()
    assert shown(page) == "/stage0/block7/conv"
    canvas.send_keys("\ue015")
    assert shown(page) == "/stage0/block7/relu"
    canvas.send_keys("\ue013")
    assert shown(page) == "/stage0/block7/conv"
    canvas.send_keys("\ue00c")
    assert page.all(".graph .node h3") == []


def test_the_chain_of_a_coupled_set_is_drawn(page, inspected) -> None:
    page.open(inspected)
    search(page, "block11/conv\ue007")
    buttons = page.all(".graph .node button")
    chain = next(button for button in buttons if button.text == "Show the chain")
    chain.click()
    assert "/stage1/block11/conv → /stage1/block11/relu" in page.one(".graph .node").text


def test_both_models_are_drawn_and_a_changed_node_says_so(page, compared) -> None:
    page.open(compared)
    assert len(page.all(".graph canvas")) == 2
    search(page, "block1/relu\ue007")
    text = page.one(".graph .node").text
    assert "Relu is now Tanh" in text
    assert "operator Relu Tanh" in " ".join(text.split())


def test_blocks_are_closed_and_opened(page, inspected) -> None:
    page.open(inspected)
    count = lambda: int(page.one("#graph").get_attribute("data-vertices"))  # noqa: E731
    page.one(".graph button.close").click()
    assert count() == 4
    page.one(".graph button.open").click()
    assert count() == 38


def test_a_graph_of_1000_nodes_opens_folded(page, folder) -> None:
    file = folder / "large.html"
    file.write_text(acgraph.inspect(network(334)).to_html())
    page.open(file)
    assert 10 < int(page.one("#graph").get_attribute("data-vertices")) <= 75
    assert (
        len(page.run("return JSON.parse(document.getElementById('data-graph').textContent).nodes"))
        > 1000
    )


def test_names_in_a_model_break_no_page(page, folder) -> None:
    model = network(3, name=HOSTILE + "/{0}/{1}/{2}")
    for made in (acgraph.inspect(model).to_html(), acgraph.diff(model, network(2)).to_html()):
        file = folder / "hostile.html"
        file.write_text(made)
        page.open(file)
        search(page, "conv\ue007")
        assert HOSTILE in shown(page)
        assert page.run("return document.images.length") == 0
