"""The data of a drawn graph, against networks that are known."""

import onnx.parser
import pytest

from acgraph.analysis.couplings import couplings
from acgraph.analysis.dependency import analyse
from acgraph.difference import diff_models
from acgraph.ir import Model
from acgraph.ir.load import load_model
from acgraph.report.graph_data import graph_data
from acgraph.report.scopes import node_scopes

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
TEXT = f"""{HEAD}
g (float[1,2] x) => (float[1,3] y)
<float[2,3] w1 = {{1, 2, 3, 4, 5, 6}}, float[3,3] w2 = {{1, 2, 3, 4, 5, 6, 7, 8, 9}}>
{{
  ["/a/one/MatMul"] h = MatMul (x, w1)
  ["/a/Relu"] r = Relu (h)
  ["/b/MatMul"] y = MatMul (r, w2)
}}
"""


def model(text: str) -> Model:
    return load_model(onnx.parser.parse_model(text))


def named(text: str = TEXT) -> Model:
    """Read a model whose nodes have names with slashes, which the parser cannot read."""
    names = [part.split('"]')[0] for part in text.split('["')[2:]]
    plain = text
    for name in names:
        plain = plain.replace(f'["{name}"] ', "")
    proto = onnx.parser.parse_model(plain)
    for node, name in zip(proto.graph.node, names, strict=True):
        node.name = name
    return load_model(proto)


def vertices(data, side="a"):
    return {v[side]["name"]: v for v in data["nodes"] if side in v}


def test_one_model_has_its_nodes_and_edges() -> None:
    data = graph_data(named())
    found = vertices(data)
    assert list(found) == ["x", "y", "/a/one/MatMul", "/a/Relu", "/b/MatMul"]
    first = found["/a/one/MatMul"]
    assert first["a"] == {
        "name": "/a/one/MatMul", "op": "MatMul", "out": [[1, 3]], "filters": 3, "columns": 2,
        "params": 6, "macs": 6,
    }  # fmt: skip
    assert first["scope"] == ("a", "one")
    order = [v["a"]["name"] for v in data["nodes"]]
    edges = {(order[a], order[b], models) for a, b, models in data["edges"]}
    assert edges == {
        ("x", "/a/one/MatMul", 1), ("/a/one/MatMul", "/a/Relu", 1), ("/a/Relu", "/b/MatMul", 1),
        ("/b/MatMul", "y", 1),
    }  # fmt: skip


def test_two_models_share_vertices_where_nodes_correspond() -> None:
    other = TEXT.replace("float[2,3] w1 = {1, 2, 3, 4, 5, 6}", "float[2,2] w1 = {1, 2, 4, 5}")
    other = other.replace("{1, 2, 3, 4, 5, 6, 7, 8, 9}", "{1, 2, 3, 4, 5, 6}")
    other = other.replace("float[3,3] w2", "float[2,3] w2")
    other = other.replace('["/b/MatMul"] y = MatMul (r, w2)',
                          '["/b/MatMul"] z = MatMul (r, w2) ["/b/Neg"] y = Neg (z)')  # fmt: skip
    pair = named(), named(other)
    data = graph_data(*pair, diff=diff_models(*pair), labels=("before", "after"))
    ours, theirs = vertices(data), vertices(data, "b")
    assert ours["/a/one/MatMul"] is theirs["/a/one/MatMul"]
    assert ours["/a/one/MatMul"]["state"] == "resized"
    assert ours["/a/one/MatMul"]["changes"][0] == "filters 3 -> 2"
    assert theirs["/b/Neg"]["state"] == "added"
    assert ours["/a/Relu"]["state"] == "same"
    order = [(v.get("a") or v["b"])["name"] for v in data["nodes"]]
    edges = {(order[a], order[b]): models for a, b, models in data["edges"]}
    assert edges["/a/one/MatMul", "/a/Relu"] == 3
    assert edges["/b/MatMul", "y"] == 1
    assert edges["/b/Neg", "y"] == 2
    assert data["sides"] == ["before", "after"]


def test_coupled_sets_name_the_nodes_that_they_cross_and_their_fences() -> None:
    text = f"""{HEAD} g (float[1,2] x) => (float[1,3] y)
    <float[2,3] w1 = {{1, 2, 3, 4, 5, 6}}, float[3,3] w2 = {{1, 2, 3, 4, 5, 6, 7, 8, 9}}>
    {{
      [one] h = MatMul (x, w1) [act] r = Relu (h)
      [norm] s = Softmax (r) [two] y = MatMul (s, w2)
    }}
    """
    dependency = analyse(model(text))
    found = {coupling.family.name: coupling for coupling in couplings(dependency)}
    assert found["one"].nodes == ("one", "act", "norm", "two")
    assert [nodes for _, nodes in found["one"].reasons] == [("norm",)]
    data = graph_data(dependency.model, dependency=dependency)
    (family,) = [family for family in data["families"] if family["name"] == "one"]
    names = [data["nodes"][k]["a"]["name"] for k in family["nodes"]]
    assert names == ["one", "act", "norm", "two"]
    assert family["state"] in ("inexact", "fenced")
    (output,) = [family for family in data["families"] if family["name"] == "two"]
    assert [data["nodes"][k]["a"]["name"] for k in output["reasons"][0][1]] == ["two"]


@pytest.mark.parametrize(
    ("weights", "scopes"),
    [
        (("a.0.w", "b.w"), {"n0": ("a", "0"), "n1": ("a",), "n2": ("b",)}),
        (("v", "w"), {"n0": ("n0",), "n1": ("n0",), "n2": ("n2",)}),
    ],
)
def test_blocks_are_those_of_weights_or_of_layers(weights, scopes) -> None:
    found = model(f"""{HEAD} g (float[1,2] x) => (float[1,2] y)
    <float[2,2] p = {{1, 2, 3, 4}}, float[2,2] q = {{1, 2, 3, 4}}>
    {{ [n0] h = MatMul (x, p) [n1] r = Relu (h) [n2] y = MatMul (r, q) }}""")
    for node, name in ((found.graph.nodes[0], weights[0]), (found.graph.nodes[2], weights[1])):
        node.inputs[1].name = name
    layers = {"n0": weights[0], "n2": weights[1]}
    assert node_scopes(found.graph.nodes, layers) == scopes


def test_nodes_that_compute_constants_are_marked() -> None:
    found = model(f"""{HEAD} g (float[1,2] x) => (float[1,2] y)
    <float[2] p = {{1, 2}}>
    {{ [k] c = Neg (p) [l] d = Neg (c) [m] e = Add (x, d) [n] y = Relu (e) }}""")
    data = graph_data(found)
    assert [v["a"]["name"] for v in data["nodes"] if v.get("constant")] == ["k", "l"]
