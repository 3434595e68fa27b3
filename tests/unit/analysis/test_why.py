"""``why`` explains a node in a chain that a person can follow."""

from typing import Any

import pytest

from acgraph.analysis.dependency import analyse
from acgraph.ir import model_from_proto


def _graph(make_net: Any) -> Any:
    net = make_net()
    x = net.conv(net.input(1, 3, 8, 8), 3, 8, name="stem")
    y = net.op("Relu", net.conv(x, 8, 8, name="body"), name="act")
    x = net.op("Add", x, net.conv(y, 8, 8, name="tail"), name="join")
    x = net.op("LRN", x, size=3, name="odd")
    free = net.conv(x, 8, 4, name="free")
    return analyse(model_from_proto(net.proto(net.conv(free, 4, 2, name="head"))))


def test_a_fenced_family_leads_to_its_fence(make_net: Any) -> None:
    lines = _graph(make_net).why("stem")
    assert lines[0].startswith("stem: 8 coupled sets, fenced; cuts ")
    (chain,) = lines[1:]
    assert chain.startswith("  stem -> join -> odd: ")
    assert chain.endswith("node 'odd' (LRN), axis 1: looks at neighbouring channels")


def test_a_graph_output_ends_a_chain(make_net: Any) -> None:
    net = make_net()
    x = net.op("Relu", net.conv(net.input(1, 3, 8, 8), 3, 8, name="make"), name="act")
    found = analyse(model_from_proto(net.proto(x)))
    assert found.why("make")[1].startswith("  make -> act: ")
    assert "'act:0', axis 1: a graph output keeps its shape" in found.why("make")[1]


def test_a_node_where_two_families_meet_names_both(make_net: Any) -> None:
    text = "\n".join(_graph(make_net).why("tail"))
    assert "body: 8 coupled sets, free to cut" in text
    assert "stem: 8 coupled sets, fenced" in text


def test_a_node_that_nothing_crosses(make_net: Any) -> None:
    net = make_net()
    y = net.op("Relu", net.input(1, 4), name="act")
    found = analyse(model_from_proto(net.proto(net.gemm(y, 4, 2))))
    assert found.why("act") == ["nothing can be cut at 'act': no labelled axis crosses it"]


def test_an_inexact_family_says_so(make_net: Any) -> None:
    net = make_net()
    x = net.op("MatMul", net.input(2, 3), net.w(3, 8), name="make")
    x = net.op("LayerNormalization", x, net.positive(8), net.w(8), name="ln")
    found = analyse(model_from_proto(net.proto(net.op("MatMul", x, net.w(8, 2), name="read"))))
    lines = found.why("make")
    assert "inexact" in lines[0]
    assert any("node 'ln' (LayerNormalization)" in line for line in lines[1:])


def test_an_unknown_node(make_net: Any) -> None:
    with pytest.raises(KeyError):
        _graph(make_net).why("nowhere")
