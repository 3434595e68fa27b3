"""A network and the same network cut, run side by side on the same samples, halted at each layer.

What is alive at a halt is kept for every batch, so that each node runs once. Where that would take
too much memory, fewer batches run; the others are begun, from the inputs on, as soon as what is
alive is small enough, as it is behind the first layers of most networks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from acgraph.analysis.tail import Tail
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.plan import ExecutionPlan, run_steps
from acgraph.backends.torch.rows import columns_at, draw, outputs_at
from acgraph.data import Batch
from acgraph.ir import Array, Model
from acgraph.pruning.regression import ColumnPart, Moments, PairedMoments

#: Bytes of what is alive of both networks, about.
MAX_BYTES = 2 << 30
#: Rows that the moments of a layer are taken over, about; and positions of an example, at least.
ROWS = 1 << 15
MIN_POSITIONS = 16
#: One batch of so many is held out of the fits, to judge them by.
HELD_OUT = 4


class Lockstep:
    """See :class:`acgraph.backends.interface.PairedRun`."""

    def __init__(
        self,
        model: Model,
        read: Callable[[int], Batch],
        count: int,
        *,
        device: torch.device,
        seed: int = 0,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Begin before the first node; both networks have the weights of the model.

        Args:
            model: The original.
            read: Returns the examples of a batch.
            count: How many batches there are, at least 1.
            device: Where to run.
            seed: Of the draw of positions.
            max_bytes: Of what is kept, about.
        """
        self._model = model
        self._nodes = {node.name: node for node in model.graph.nodes}
        self._original = GraphModule(model).to(device).eval().requires_grad_(False)
        self._cut = GraphModule(model).to(device).eval().requires_grad_(False)
        self._read, self._count, self._device = read, count, device
        self._seed = seed
        self._begun = 0
        self._pairs: list[_Pair] = []
        self._fitting = self._counts(max_bytes)

    def weights(self) -> dict[str, Array]:
        """Copy the weights of the cut network."""
        return self._cut.weights()

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Set weights of the cut network."""
        self._cut.load_weights(weights)

    def reaches(self, name: str) -> bool:
        """Whether a node runs at all, and is not computed beforehand."""
        return name in self._pairs[0].places

    @torch.no_grad()
    def moments(
        self, tail: Tail, gain: Array, offset: Array, part: ColumnPart | None = None
    ) -> PairedMoments:
        """Measure what a layer reads in the cut network, and what its tail shall give there.

        Args:
            tail: The layer and what is behind it.
            gain: What its output is multiplied with in the original, ``[filters]``.
            offset: What is then added.
            part: The columns that count, of a layer of one group; None for all of them.
        """
        layer = tail.layer
        self._begin(self._fitting[self._pairs[0].places[layer.name]])
        factors = [torch.from_numpy(np.asarray(x, np.float32)) for x in (gain, offset)]
        examples = sum(pair.examples for pair in self._pairs)
        positions = max(MIN_POSITIONS, -(-ROWS // max(examples, 1)))
        generator = torch.Generator().manual_seed(self._seed)
        sums: list[_PairSums | None] = [None, None]
        for pair in self._pairs:
            x, y = self._look(pair, tail, factors[0], factors[1])
            node = self._nodes[layer.name]
            drawn = draw(x, node, layer, generator, positions)
            inputs, targets = columns_at(x, node, layer, drawn), outputs_at(y, layer, drawn)
            if part is not None:
                rest = torch.from_numpy(part.rest.astype(np.float32)).to(inputs.device)
                targets = targets - inputs @ rest.T
                inputs = inputs[:, part.start : part.end]
            found = _PairSums.of(inputs, targets, layer.group)
            known = sums[pair.is_held]
            sums[pair.is_held] = found if known is None else known.plus(found)
        fit, held = sums
        if fit is None:
            fit, held = held, None
        assert fit is not None  # there is a batch
        return PairedMoments(fit.moments(), None if held is None else held.moments())

    def _look(
        self, pair: "_Pair", tail: Tail, gain: torch.Tensor, offset: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the layer reads in the cut network, and what its tail shall give."""
        pair.reach(tail.layer.name)
        x, z = pair.cut_input(tail.layer.name), pair.original_output(tail.layer.name)
        shape = [1] * z.ndim
        shape[1 if tail.layer.kernel else z.ndim - 1] = -1
        y = z.to(torch.float32) * gain.to(z.device).reshape(shape)
        y = y + offset.to(z.device).reshape(shape)
        if tail.join:
            ours, theirs = pair.others(tail.join, tail.other)
            if ours is not None and theirs is not None and ours.shape == y.shape:
                y = y + (theirs.to(torch.float32) - ours.to(torch.float32))
        return x, y

    def _begin(self, count: int) -> None:
        """Let so many batches run."""
        for number in range(self._begun, count):
            is_held = number % HELD_OUT == 1
            self._pairs += [
                _Pair(self._model, (self._original, self._cut), part, is_held=is_held)
                for part in self._parts(number)
            ]
        self._begun = max(self._begun, count)

    def _parts(self, number: int) -> list[Inputs]:
        """Return a batch in parts that the graph runs at once."""
        inputs = Inputs.of(self._read(number), self._original.input_names, self._device)
        return [Inputs(tuple(x), inputs.axes) for x in self._original.whole_parts(inputs.tensors)]

    @torch.no_grad()
    def _counts(self, max_bytes: int) -> list[int]:
        """Say for each step of the plan how many batches may run from there to the end."""
        parts = self._parts(0)
        plan, values = self._original.filled_plan(parts[0].tensors)
        fixed = _fixed(plan)
        steps = self._original.step_by_step(plan, values)
        alive = [_bytes(values, fixed) for _ in steps]
        most = np.maximum.accumulate(alive[::-1])[::-1] if alive else np.zeros(1)
        counts = max_bytes // np.maximum(2 * len(parts) * most, 1)
        self._begin(1)
        return [int(min(max(count, 2), self._count)) for count in counts]


class _Pair:
    """Both networks on one batch, the original one node ahead where it was asked for an output."""

    def __init__(
        self,
        model: Model,
        modules: tuple[GraphModule, GraphModule],
        inputs: Inputs,
        *,
        is_held: bool,
    ) -> None:
        self._model = model
        self._plans, self._values = [], []
        for module in modules:
            plan, values = module.filled_plan(inputs.tensors)
            self._plans.append(plan)
            self._values.append(values)
        self._done = [0, 0]
        self.places = {step.node.name: i for i, step in enumerate(self._plans[0].steps)}
        self.examples = len(inputs)
        self.is_held = is_held

    def reach(self, name: str) -> None:
        """Run the original through a node, and the cut network up to it."""
        place = self.places[name]
        for side, end in ((0, place + 1), (1, place)):
            steps = self._plans[side].steps[self._done[side] : end]
            run_steps(self._model, steps, self._values[side])
            self._done[side] = max(self._done[side], end)

    def cut_input(self, name: str) -> torch.Tensor:
        """Return what a node is about to read in the cut network."""
        value: torch.Tensor = self._values[1][self._plans[1].steps[self.places[name]].inputs[0]]
        return value

    def original_output(self, name: str) -> torch.Tensor:
        """Return what a node has given in the original."""
        value: torch.Tensor = self._values[0][self._plans[0].steps[self.places[name]].outputs[0]]
        return value

    def others(self, name: str, index: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return an input of a later node in the cut network and in the original, if known yet."""
        if name not in self.places:
            return None, None
        slot = self._plans[0].steps[self.places[name]].inputs[index]
        return self._values[1][slot], self._values[0][slot]


def _fixed(plan: ExecutionPlan) -> frozenset[int]:
    """Return the slots that hold weights and constants."""
    constants = {slot for slot, value in enumerate(plan.template) if value is not None}
    return frozenset(constants | {slot for slot, _ in plan.weights})


def _bytes(values: Sequence[object], fixed: frozenset[int]) -> int:
    return sum(
        value.nbytes
        for slot, value in enumerate(values)
        if slot not in fixed and isinstance(value, torch.Tensor)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _PairSums:
    """Central sums over so many rows of inputs and targets, for every group, not divided yet."""

    inner: torch.Tensor
    cross: torch.Tensor
    spread: torch.Tensor
    inputs: torch.Tensor
    targets: torch.Tensor
    count: int

    @classmethod
    def of(cls, x: torch.Tensor, y: torch.Tensor, group: int) -> "_PairSums":
        """Sum over rows ``[samples, groups * columns]`` and ``[samples, groups * filters]``.

        The products are of float32, for speed, of rows about a mean that is rounded to float32, so
        that a large mean costs no digits.
        """
        x, y = (rows.reshape(len(rows), group, -1).permute(1, 0, 2) for rows in (x, y))
        about = [rows.mean(dim=1) for rows in (x, y)]
        x, y = (rows - mean[:, None] for rows, mean in zip((x, y), about, strict=True))
        count = x.shape[1]
        rest_x, rest_y = (rows.mean(dim=1, dtype=torch.float64) for rows in (x, y))
        turned = x.transpose(1, 2)
        inner = torch.bmm(turned, x).to(torch.float64)
        cross = torch.bmm(turned, y).to(torch.float64)
        spread = y.square().sum(dim=1, dtype=torch.float64) - rest_y.square() * count
        inner -= rest_x[:, :, None] * rest_x[:, None] * count
        cross -= rest_x[:, :, None] * rest_y[:, None] * count
        inputs, targets = about[0].to(torch.float64) + rest_x, about[1].to(torch.float64) + rest_y
        return cls(inner, cross, spread, inputs, targets, count)

    def plus(self, other: "_PairSums") -> "_PairSums":
        """Add other rows by the formula of Chan, Golub and LeVeque (1983)."""
        count = self.count + other.count
        dx, dy = other.inputs - self.inputs, other.targets - self.targets
        between = self.count * other.count / count
        return _PairSums(
            inner=self.inner + other.inner + dx[:, :, None] * dx[:, None] * between,
            cross=self.cross + other.cross + dx[:, :, None] * dy[:, None] * between,
            spread=self.spread + other.spread + dy.square() * between,
            inputs=self.inputs + dx * (other.count / count),
            targets=self.targets + dy * (other.count / count),
            count=count,
        )

    def moments(self) -> list[Moments]:
        """Return the moments of every group."""
        sums = (self.inner, self.cross, self.spread)
        found = [(each / self.count).cpu().numpy() for each in sums]
        found += [each.cpu().numpy() for each in (self.inputs, self.targets)]
        return [
            Moments(inner, cross, spread, inputs, targets, self.count)
            for inner, cross, spread, inputs, targets in zip(*found, strict=True)
        ]
