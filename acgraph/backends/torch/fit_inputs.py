"""Fit generated inputs to the statistics that BatchNormalization keeps.

The running mean and variance of each BatchNormalization describe the activations on the data that
the network was trained on. Inputs are changed by gradient descent until the statistics of their own
activations are close to these (Yin et al., "Dreaming to distill", CVPR 2020; Cai et al., "ZeroQ",
CVPR 2020). The inputs of a classifier are also drawn towards equally frequent classes.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.backends.torch.memory import MAX_STEP_BYTES, bytes_of_an_image
from acgraph.backends.torch.runtime import evaluating
from acgraph.data import Array, ArrayDataset, Layout
from acgraph.ir import Model
from acgraph.tasks import OutputTask

log = logging.getLogger(__name__)

#: Steps of gradient descent, and the step size of Adam relative to the scale of the inputs.
STEPS, STEP_SIZE = 40, 0.03
#: Weight of the cross-entropy with the classes, beside that of the statistics.
CLASS_WEIGHT = 0.02
#: Number of inputs that are fitted together, if memory allows: their common statistics count.
BATCH = 128
#: Steps in which the scale and the offset of all inputs are fitted first, and their step size.
SCALE_STEPS, SCALE_STEP_SIZE = 30, 0.1
#: Scales and offsets (in units of the scale) from which that fit may start: normalised inputs,
#: pixels from 0 to 1, and pixels from 0 to 255.
STARTS = ((1.0, 0.0), (0.25, 2.0), (64.0, 2.0))
#: Images are shifted by at most this many pixels in a step, so that no position is special.
SHIFT = 2
#: Smallest probability whose logarithm is taken.
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Normalisation:
    """A BatchNormalization: its input, and its running statistics, ``float32 [channels]``."""

    tensor: str
    mean: Tensor
    variance: Tensor
    epsilon: float


def normalisations(module: GraphModule) -> list[Normalisation]:
    """Return the BatchNormalization nodes of a network that have running statistics."""
    found = []
    for node, inputs in module.walk():
        if node.op != "BatchNormalization":
            continue
        names = inputs[3:5]
        kept = module.weights(names)
        if len(kept) == 2:
            mean, variance = (torch.from_numpy(kept[name].astype(np.float32)) for name in names)
            epsilon = float(node.attrs.get("epsilon", 1e-5))
            found.append(Normalisation(inputs[0], mean, variance, epsilon))
    return found


def fit_inputs(
    model: Model, x: Array, *, layout: Layout = "", task: OutputTask | None = None, seed: int = 0
) -> Array:
    """Fit inputs to the BatchNormalization statistics of a network with one input.

    Args:
        model: The network; it has at least one BatchNormalization with running statistics.
        x: Generated inputs, ``float32 [N, ...]``, with mean 0 and standard deviation 1.
        layout: Their layout if they are images; empty for others.
        task: The task of the first output if it is ``[N, classes]`` of a classifier.
        seed: Seed of the random shifts.

    Returns:
        The fitted inputs, with the shape of ``x``.
    """
    module = GraphModule(model)
    fit = _Fit(module, normalisations(module), layout, task)
    data = ArrayDataset(x, input_name=module.input_names[0])
    batch = max(1, min(BATCH, MAX_STEP_BYTES // bytes_of_an_image(model, data)))
    with evaluating(module):
        scale, offset = fit.scale(torch.from_numpy(x[:batch]))
        log.info("generated inputs: scale %.3g, offset %.3g", scale.mean(), offset.mean())
        parts = [
            fit.run(torch.from_numpy(part) * scale + offset, scale, start, seed)
            for start, part in _parts(x, batch)
        ]
    return np.concatenate(parts)


def _parts(x: Array, batch: int) -> Iterator[tuple[int, Array]]:
    """Cut inputs into batches whose sizes differ by at most one, with the number of the first."""
    start = 0
    for part in np.array_split(x, -(-len(x) // batch)):
        yield start, part
        start += len(part)


class _Fit:
    """Fits batches of inputs to one network."""

    def __init__(
        self,
        module: GraphModule,
        wanted: list[Normalisation],
        layout: Layout,
        task: OutputTask | None,
    ) -> None:
        self._module, self._wanted, self._layout, self._task = module, wanted, layout, task
        self._watched = list(dict.fromkeys(item.tensor for item in wanted))
        for parameter in module.parameters():
            parameter.requires_grad_(False)

    def scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scale and the offset that fit best: of each channel of images, else one."""
        shape = [1] * x.ndim
        if self._layout:
            axis = self._layout.index("C")
            shape[axis] = x.shape[axis]
        with torch.no_grad():
            errors = [float(self._error(x * a + a * b)[0]) for a, b in STARTS]
        a, b = STARTS[int(np.nanargmin(errors))]
        gain = torch.full(shape, float(np.log(a)), requires_grad=True)
        centre = torch.full(shape, b, requires_grad=True)
        optimizer = torch.optim.Adam([gain, centre], lr=SCALE_STEP_SIZE)
        for _ in range(SCALE_STEPS):
            optimizer.zero_grad()
            self._error(gain.exp() * (x + centre))[0].backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        found = gain.detach().exp()
        return found, found * centre.detach()

    def run(self, x: Tensor, scale: Tensor, start: int, seed: int) -> Array:
        """Fit one batch."""
        change = torch.zeros_like(x, requires_grad=True)
        optimizer = torch.optim.Adam([change], lr=STEP_SIZE)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1 / STEPS, STEPS)
        rng = np.random.default_rng((seed, start))
        for _ in range(STEPS):
            optimizer.zero_grad()
            error, outputs = self._error(self._moved(x + scale * change, rng))
            error = error + CLASS_WEIGHT * self._class_error(outputs[0], start)
            error.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        return (x + scale * change.detach()).numpy()

    def _error(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return how far the statistics are from the kept ones, and the outputs."""
        outputs, found = self._module.run_and_watch(self._watched, x)
        errors = [_distance(found[item.tensor].float(), item) for item in self._wanted]
        return torch.stack(errors).mean(), outputs

    def _class_error(self, scores: Tensor, start: int) -> Tensor:
        """Return the cross-entropy with classes that take turns; 0 without classes."""
        if self._task is None:
            return scores.new_zeros(())
        classes = torch.arange(start, start + len(scores)) % scores.shape[1]
        if self._task.form == "softmax":
            return F.nll_loss(scores.float().clamp_min(_TINY).log(), classes)
        return F.cross_entropy(scores.float(), classes)

    def _moved(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Mirror and shift images at random, all in the same way; leave other inputs."""
        if not self._layout:
            return x
        height, width = (self._layout.index(axis) for axis in "HW")
        if rng.random() < 0.5:
            x = x.flip(width)
        down, right = (int(step) for step in rng.integers(-SHIFT, SHIFT + 1, 2))
        return torch.roll(x, (down, right), (height, width))


def _distance(x: Tensor, wanted: Normalisation) -> Tensor:
    axes = [axis for axis in range(x.ndim) if axis != 1]
    mean, variance = x.mean(axes), x.var(axes, unbiased=False)
    kept = wanted.variance + wanted.epsilon
    shifts = (mean - wanted.mean).square() / kept
    spreads = ((variance + wanted.epsilon) / kept).log().square()
    return shifts.mean() + spreads.mean()
