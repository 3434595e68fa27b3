"""LSTM, GRU and RNN, with PyTorch's fused kernels where these are equivalent.

The order of the gates differs: for LSTM it is i, o, f, c in ONNX and i, f, c, o in PyTorch; for GRU
it is z, r, h in ONNX and r, z, h in PyTorch.
"""

from collections.abc import Sequence

import torch

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView

Tensor = torch.Tensor

_DEFAULTS = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}


def _check(node: NodeView) -> str:
    """Return the activation of a plain RNN.

    Raises:
        UnsupportedOpError: PyTorch's kernels do not support an attribute or input of the node.
    """
    op = node.node.op
    two = node.text("direction", "forward") == "bidirectional"
    names = [
        n.decode() if isinstance(n, bytes) else str(n)
        for n in node.node.attrs.get("activations", [])
    ]
    wanted = list(_DEFAULTS[op]) * (2 if two else 1)
    relu = op == "RNN" and bool(names) and set(names) == {"Relu"}
    if names and names != wanted and not relu:
        raise node.unsupported("activations other than the default")
    if "clip" in node.node.attrs:
        raise node.unsupported("a cell clip")
    if node.has(4):
        raise node.unsupported("sequence_lens")
    if node.integer("input_forget", 0):
        raise node.unsupported("coupled input and forget gates")
    if op == "LSTM" and node.has(7):
        raise node.unsupported("peepholes")
    if node.text("direction", "forward") == "reverse" and node.integer("layout", 0):
        raise node.unsupported("layout 1 with direction reverse")
    return "relu" if relu else "tanh"


def _reorder(x: Tensor, order: Sequence[int]) -> Tensor:
    if len(order) == 1:
        return x
    parts = x.chunk(len(order), dim=0)
    return torch.cat([parts[i] for i in order])


def _weights(op: str, w: Tensor, r: Tensor, b: Tensor | None) -> list[Tensor]:
    order = _GATES[op]
    flat: list[Tensor] = []
    for direction in range(w.shape[0]):
        flat += [_reorder(w[direction], order), _reorder(r[direction], order)]
        if b is not None:
            both = b[direction].chunk(2)
            flat += [_reorder(both[0], order), _reorder(both[1], order)]
    return flat


def _state(
    given: Tensor | None, x: Tensor, directions: int, hidden: int, *, form: tuple[int, ...] | None
) -> Tensor:
    """Return the initial state, ``[directions, batch, hidden]``.

    Args:
        given: Initial state of the graph; None is zero.
        x: Input, ``[time, batch, in]``.
        directions: Number of directions.
        hidden: Number of hidden units.
        form: Result of the batch analysis: None keeps the state, ``(axis,)`` uses that of the first
            sample for all samples, ``(axis, 1)`` repeats the given rows over the batch.
    """
    batch = x.shape[1]
    if given is None:
        return x.new_zeros(directions, batch, hidden)
    if form is not None:
        given = given[:, :1] if len(form) == 1 else given.repeat(1, batch // given.shape[1], 1)
    return given.expand(directions, batch, hidden).contiguous()


def _recurrent(node: NodeView) -> Kernel:
    op = node.node.op
    activation = _check(node)
    hidden = node.integer("hidden_size", 0)
    direction = node.text("direction", "forward")
    batch_first = bool(node.integer("layout", 0))
    backward, two = direction == "reverse", direction == "bidirectional"
    after = op != "GRU" or bool(node.integer("linear_before_reset", 0))
    if not after:
        return _gru_before(node, hidden, direction)

    def run(
        x: Tensor,
        w: Tensor,
        r: Tensor,
        b: Tensor | None = None,
        lens: Tensor | None = None,
        h: Tensor | None = None,
        c: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        if batch_first:
            x = x.transpose(0, 1)
            h = None if h is None else h.transpose(0, 1)
            c = None if c is None else c.transpose(0, 1)
        x = x.flip(0) if backward else x
        directions = w.shape[0]
        flat = _weights(op, w, r, b)
        start = _state(h, x, directions, hidden, form=node.batch)
        tail = (flat, b is not None, 1, 0.0, False, two, False)
        if op == "LSTM":
            y, *last = torch.lstm(
                x, (start, _state(c, x, directions, hidden, form=node.batch)), *tail
            )
        elif op == "GRU":
            y, *last = torch.gru(x, start, *tail)
        elif activation == "relu":
            y, *last = torch.rnn_relu(x, start, *tail)
        else:
            y, *last = torch.rnn_tanh(x, start, *tail)
        return _outputs(y, last, directions, backward=backward, batch_first=batch_first)

    return _trim(run, node)


def _outputs(
    y: Tensor, last: Sequence[Tensor], directions: int, *, backward: bool, batch_first: bool
) -> tuple[Tensor, ...]:
    length, batch = y.shape[:2]
    y = y.flip(0) if backward else y
    y = y.reshape(length, batch, directions, -1)
    if batch_first:
        return (y.transpose(0, 1), *(t.transpose(0, 1) for t in last))
    return (y.transpose(1, 2), *last)


def _trim(run: Kernel, node: NodeView) -> Kernel:
    count = len(node.used)
    return (lambda *xs: run(*xs)[0]) if count == 1 else (lambda *xs: run(*xs)[:count])


def _gru_before(node: NodeView, hidden: int, direction: str) -> Kernel:
    """Run a GRU with ``linear_before_reset=0``, which PyTorch's kernel does not support."""
    batch_first = bool(node.integer("layout", 0))

    def run(
        x: Tensor,
        w: Tensor,
        r: Tensor,
        b: Tensor | None = None,
        lens: Tensor | None = None,
        h: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        if batch_first:
            x, h = x.transpose(0, 1), None if h is None else h.transpose(0, 1)
        directions = w.shape[0]
        bias = x.new_zeros(directions, 6 * hidden) if b is None else b
        state = _state(h, x, directions, hidden, form=node.batch)
        runs = []
        for d in range(directions):
            flip = direction == "reverse" or d == 1
            steps = x.flip(0) if flip else x
            y = _gru_steps(steps, w[d], r[d], bias[d], state[d])
            runs.append((y.flip(0) if flip else y, y[-1]))
        y = torch.stack([y for y, _ in runs], dim=2).flatten(2)
        last = torch.stack([end for _, end in runs])
        return _outputs(y, [last], directions, backward=False, batch_first=batch_first)

    return _trim(run, node)


def _gru_steps(x: Tensor, w: Tensor, r: Tensor, b: Tensor, h: Tensor) -> Tensor:
    size = h.shape[-1]
    from_x = x @ w.t() + b[: 3 * size]
    rz, rr, rh = r.chunk(3)
    bz, br, bh = b[3 * size :].chunk(3)
    states = []
    for step in from_x:
        xz, xr, xh = step.chunk(3, dim=-1)
        z = torch.sigmoid(xz + h @ rz.t() + bz)
        reset = torch.sigmoid(xr + h @ rr.t() + br)
        new = torch.tanh(xh + (reset * h) @ rh.t() + bh)
        h = (1 - z) * new + z * h
        states.append(h)
    return torch.stack(states)


TABLE: dict[str, Builder] = {"GRU": _recurrent, "LSTM": _recurrent, "RNN": _recurrent}
