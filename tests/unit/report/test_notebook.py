"""Results in a notebook: a table and a picture, in which no name becomes markup."""

import re

import acgraph
from acgraph.models.demo import model_path
from acgraph.report.notebook import notebook_table, report_table


def cells(text: str) -> list[list[str]]:
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", text)][1:]


def test_a_run_shows_its_costs_and_layers(report):
    text = report_table(report)
    assert cells(text)[0] == ["params", "269,722", "33,402", "8.07x"]
    assert "target met" in text
    assert text.count('<rect class="now"') == len(report.layers)


def test_every_result_has_a_table():
    path = str(model_path())
    pruned = acgraph.prune(path, sparsity=0.5)
    found = acgraph.diff(path, pruned.model)
    inspected = acgraph.inspect(path)
    assert [row[0] for row in cells(pruned._repr_html_())] == ["params", "MACs", "bytes"]
    assert cells(found._repr_html_()) == cells(pruned._repr_html_())
    assert '<rect class="was"' in found._repr_html_()
    assert len(cells(inspected._repr_html_())) == len(inspected.layers)
    assert int(cells(inspected._repr_html_())[0][2].replace(",", "")) == max(
        layer.params for layer in inspected.layers
    )


def test_names_do_not_become_markup():
    text = notebook_table("<i>", ["<b>"], [["<script>"]])
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;i&gt;" in text
