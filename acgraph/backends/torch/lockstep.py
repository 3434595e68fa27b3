"""Run a network and its cut copy side by side on the same batches, pausing at each layer.

The live tensors of every batch are kept at a pause, so that each node runs once per batch. While
these need too much memory, only some batches run. The others start, from the inputs, as soon as
the live tensors are small enough, which is after the first layers of most networks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from acgraph.analysis.tail import Tail
from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.inputs import Inputs
from acgraph.backends.torch.plan import ExecutionPlan, run_steps
from acgraph.backends.torch.rows import columns_at, outputs_at, sample_rows
from acgraph.data import Batch
from acgraph.ir import Array, Model
from acgraph.pruning.regression import ColumnPart, Moments, PairedMoments

#: Approximate bound of the bytes of live tensors of both networks.
MAX_BYTES = 2 << 30
#: Approximate number of rows for the moments of a layer, and least positions of an example.
ROWS = 1 << 15
MIN_POSITIONS = 16
#: One of this many batches is validation out of the regression, to validate it.
VALIDATION_EVERY = 4


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
        """Start before the first node; both networks have the weights of the model.

        Args:
            model: The original network.
            read: Returns the examples of a batch, given its number.
            count: Number of batches, at least 1.
            device: Device to run on.
            seed: Seed of the sampled positions.
            max_bytes: Approximate bound of the bytes of live tensors.
        """
        self._model = model
        self._nodes = {node.name: node for node in model.graph.nodes}
        self._original = GraphModule(model).to(device).eval().requires_grad_(False)
        self._cut = GraphModule(model).to(device).eval().requires_grad_(False)
        self._read, self._count, self._device = read, count, device
        self._seed = seed
        self._started = 0
        self._pairs: list[_Pair] = []
        self._batches_that_fit = self._counts(max_bytes)

    def weights(self) -> dict[str, Array]:
        """Copy the weights of the cut network, by ONNX name."""
        return self._cut.weights()

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Set weights of the cut network."""
        self._cut.load_weights(weights)

    def reaches(self, name: str) -> bool:
        """Whether a node is executed, and not computed in advance as a constant."""
        return name in self._pairs[0].places

    @torch.no_grad()
    def moments(
        self, tail: Tail, gain: Array, offset: Array, part: ColumnPart | None = None
    ) -> PairedMoments:
        """Measure the moments of a layer's input in the cut network and of its target.

        Args:
            tail: The layer and the nodes after it.
            gain: Scale of the layer's output in the original, ``[filters]``.
            offset: Offset that is added after scaling, ``[filters]``.
            part: The columns to measure, for a layer with one group; None for all columns.
        """
        layer = tail.layer
        self._start(self._batches_that_fit[self._pairs[0].places[layer.name]])
        factors = [torch.from_numpy(np.asarray(x, np.float32)) for x in (gain, offset)]
        examples = sum(pair.examples for pair in self._pairs)
        positions = max(MIN_POSITIONS, -(-ROWS // max(examples, 1)))
        generator = torch.Generator().manual_seed(self._seed)
        sums: list[_PairSums | None] = [None, None]
        for pair in self._pairs:
            x, y = self._input_and_target(pair, tail, factors[0], factors[1])
            node = self._nodes[layer.name]
            sampled = sample_rows(x, node, layer, generator, positions)
            inputs, targets = columns_at(x, node, layer, sampled), outputs_at(y, layer, sampled)
            if part is not None:
                rest = torch.from_numpy(part.rest.astype(np.float32)).to(inputs.device)
                targets = targets - inputs @ rest.T
                inputs = inputs[:, part.start : part.end]
            found = _PairSums.of(inputs, targets, layer.group)
            known = sums[pair.is_validation]
            sums[pair.is_validation] = found if known is None else known.plus(found)
        fit, validation = sums
        if fit is None:
            fit, validation = validation, None
        assert fit is not None  # there is at least one batch
        return PairedMoments(fit.moments(), None if validation is None else validation.moments())

    def _input_and_target(
        self, pair: "_Pair", tail: Tail, gain: torch.Tensor, offset: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the input of the layer in the cut network, and the target of its tail."""
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

    def _start(self, count: int) -> None:
        """Start further batches, up to this number."""
        for number in range(self._started, count):
            is_validation = number % VALIDATION_EVERY == 1
            self._pairs += [
                _Pair(self._model, (self._original, self._cut), part, is_validation=is_validation)
                for part in self._parts(number)
            ]
        self._started = max(self._started, count)

    def _parts(self, number: int) -> list[Inputs]:
        """Return a batch, split into parts if the batch size of the graph is fixed."""
        inputs = Inputs.of(self._read(number), self._original.input_names, self._device)
        return [Inputs(tuple(x), inputs.axes) for x in self._original.whole_parts(inputs.tensors)]

    @torch.no_grad()
    def _counts(self, max_bytes: int) -> list[int]:
        """Return, for each step of the plan, how many batches fit into memory from there on."""
        parts = self._parts(0)
        plan, values = self._original.filled_plan(parts[0].tensors)
        fixed = _fixed(plan)
        steps = self._original.step_by_step(plan, values)
        alive = [_bytes(values, fixed) for _ in steps]
        most = np.maximum.accumulate(alive[::-1])[::-1] if alive else np.zeros(1)
        counts = max_bytes // np.maximum(2 * len(parts) * most, 1)
        self._start(1)
        return [int(min(max(count, 2), self._count)) for count in counts]


class _Pair:
    """Both networks on one batch; at a pause, the original has also executed the layer."""

    def __init__(
        self,
        model: Model,
        modules: tuple[GraphModule, GraphModule],
        inputs: Inputs,
        *,
        is_validation: bool,
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
        self.is_validation = is_validation

    def reach(self, name: str) -> None:
        """Run the original through a node, and the cut network up to it."""
        place = self.places[name]
        for side, end in ((0, place + 1), (1, place)):
            steps = self._plans[side].steps[self._done[side] : end]
            run_steps(self._model, steps, self._values[side])
            self._done[side] = max(self._done[side], end)

    def cut_input(self, name: str) -> torch.Tensor:
        """Return the first input of a node in the cut network."""
        value: torch.Tensor = self._values[1][self._plans[1].steps[self.places[name]].inputs[0]]
        return value

    def original_output(self, name: str) -> torch.Tensor:
        """Return the first output of a node in the original."""
        value: torch.Tensor = self._values[0][self._plans[0].steps[self.places[name]].outputs[0]]
        return value

    def others(self, name: str, index: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return an input of a later node in the cut and the original network, None if unknown."""
        if name not in self.places:
            return None, None
        slot = self._plans[0].steps[self.places[name]].inputs[index]
        return self._values[1][slot], self._values[0][slot]


def _fixed(plan: ExecutionPlan) -> frozenset[int]:
    """Return the slots of weights and constants."""
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
    """Sums over centred rows of inputs and targets for every group, and their means.

    Attributes:
        inner: Products of inputs, ``float64 [groups, columns, columns]``.
        cross: Products of inputs and targets, ``float64 [groups, columns, filters]``.
        spread: Squares of targets, ``float64 [groups, filters]``.
        inputs: Mean input, ``float64 [groups, columns]``.
        targets: Mean target, ``float64 [groups, filters]``.
        count: Number of rows.
    """

    inner: torch.Tensor
    cross: torch.Tensor
    spread: torch.Tensor
    inputs: torch.Tensor
    targets: torch.Tensor
    count: int

    @classmethod
    def of(cls, x: torch.Tensor, y: torch.Tensor, group: int) -> "_PairSums":
        """Sum over rows ``[samples, groups * columns]`` and ``[samples, groups * filters]``.

        The products are computed in float32 for speed. The rows are centred first (about the mean
        rounded to float32), so that a large mean does not reduce the precision.
        """
        x, y = (rows.reshape(len(rows), group, -1).permute(1, 0, 2) for rows in (x, y))
        about = [rows.mean(dim=1) for rows in (x, y)]
        x, y = (rows - mean[:, None] for rows, mean in zip((x, y), about, strict=True))
        count = x.shape[1]
        rest_x, rest_y = (rows.mean(dim=1).to(torch.float64) for rows in (x, y))
        turned = x.transpose(1, 2)
        inner = torch.bmm(turned, x).to(torch.float64)
        cross = torch.bmm(turned, y).to(torch.float64)
        spread = y.square().mean(dim=1).to(torch.float64) * count - rest_y.square() * count
        inner -= rest_x[:, :, None] * rest_x[:, None] * count
        cross -= rest_x[:, :, None] * rest_y[:, None] * count
        inputs, targets = about[0].to(torch.float64) + rest_x, about[1].to(torch.float64) + rest_y
        return cls(inner, cross, spread, inputs, targets, count)

    def plus(self, other: "_PairSums") -> "_PairSums":
        """Add the sums over other rows by the formula of Chan, Golub and LeVeque (1983)."""
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
