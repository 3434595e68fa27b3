"""Tables that every block builds anew are stored, where that takes less."""

from typing import Any

import numpy as np


def _table(net: Any, rows: int) -> str:
    """Two constants of ``40 x 40`` scattered into one: the result is the smaller half."""
    index = np.arange(rows, dtype=np.int64)[:, None]
    return str(net.op("ScatterND", net.w(40, 40), net.const(index), net.w(rows, 40)))


def test_a_scattered_table_is_stored(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.op("MatMul", net.op("MatMul", net.input(40, 6), net.w(6, 8)), net.w(8, 40))
    found = check_equivalence(net.proto(net.op("MatMul", x, _table(net, 40))))
    assert not any(n.op_type == "ScatterND" for n in found.after.graph.node)
    assert found.rate > 1.9


def test_a_table_that_would_grow_is_left(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    x = net.op("MatMul", net.op("MatMul", net.input(40, 6), net.w(6, 8)), net.w(8, 40))
    table = net.op("MatMul", net.w(40, 30), net.w(30, 80))
    found = check_equivalence(net.proto(net.op("MatMul", x, table)))
    assert sum(n.op_type == "MatMul" for n in found.after.graph.node) == 4


def test_a_source_that_others_read_frees_nothing(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    w = net.w(40, 40)
    x = net.op("MatMul", net.op("MatMul", net.input(40, 6), net.w(6, 8)), net.w(8, 40))
    y = net.op("MatMul", x, net.op("Trilu", w))
    found = check_equivalence(net.proto(net.op("MatMul", net.op("Softmax", y), w)))
    assert any(n.op_type == "Trilu" for n in found.after.graph.node)


def test_equal_tables_are_stored_once(make_net: Any, check_equivalence: Any) -> None:
    net = make_net()
    table = np.random.default_rng(0).standard_normal((40, 40)).astype("f4")
    x = net.op("MatMul", net.op("MatMul", net.input(40, 6), net.w(6, 8)), net.w(8, 40))
    for _ in range(2):
        x = net.op("MatMul", net.op("Relu", x), net.op("Trilu", net.const(table)))
    found = check_equivalence(net.proto(net.op("MatMul", x, net.w(40, 3))))
    sizes = [list(t.dims) for t in found.after.graph.initializer]
    assert sizes.count([40, 40]) == 1


def test_weights_in_integers_are_cut_and_stay_integers(
    make_net: Any, check_equivalence: Any
) -> None:
    """Multiplied out they are fewer numbers, since the scales go, and four times the bytes."""
    net = make_net()
    rng = np.random.default_rng(0)

    def scaled(rows: int, columns: int) -> Any:
        weight = net.const(rng.integers(-127, 128, (rows, columns)).astype(np.int8))
        floats = net.op("Cast", weight, to=1)
        scale = net.const(rng.uniform(0.001, 0.01, (1, columns)).astype(np.float32))
        return net.op("Mul", floats, scale)

    x = net.op("Relu", net.op("MatMul", net.input(4, 300), scaled(300, 400)))
    proto = net.proto(net.op("MatMul", x, scaled(400, 300)))
    found = check_equivalence(proto)
    integers = [list(t.dims) for t in found.after.graph.initializer if t.data_type == 3]
    assert sorted(integers) == [[200, 300], [300, 200]]
    assert found.after.ByteSize() < 0.65 * proto.ByteSize()
