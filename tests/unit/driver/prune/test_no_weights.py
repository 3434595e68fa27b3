"""A graph without any weight: nothing can be cut, and ``prune`` says so."""

import acgraph


def test_a_graph_without_weights_is_left_as_it_is(make_net):
    net = make_net()
    result = acgraph.prune(net.proto(net.op("Relu", net.input(1, 3, 4, 4))), sparsity=0.5)
    assert not result.is_met
    assert not result.report.rates_with, "no option would help"
    assert "nothing could be cut" in repr(result)
    assert [node.op for node in result.model.graph.nodes] == ["Relu"]
