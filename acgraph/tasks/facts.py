"""What a task is guessed from: what the graph says of an output, without the graph."""

from collections.abc import Sequence
from dataclasses import dataclass

from acgraph.tasks.kinds import Form

Sizes = tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFacts:
    """One output, as its graph shows it.

    Attributes:
        name: Its name.
        shape: Sizes, the batch usually first; None where the rank is not known.
        is_float: Whether it holds floats.
        form: By what its values are made probabilities: the last operator, views aside.
        form_axis: Along which of its axes, for softmax.
        is_unit: Whether the graph divides by the length last.
        last: Operator of the last layer or normalisation, such as Gemm or LayerNormalization.
        channel_axis: Which axis the last layer makes; None where that is not known.
        is_pooled: Whether the last layer reads one number a channel, a mean over all positions.
        state_of: The recurrent state among the inputs that it is the next of; empty where none.
        joined: Of the parts that are joined last: how each is made, and how many columns it has.
    """

    name: str
    shape: Sizes | None
    is_float: bool = True
    form: Form = "logits"
    form_axis: int | None = None
    is_unit: bool = False
    last: str = ""
    channel_axis: int | None = None
    is_pooled: bool = False
    state_of: str = ""
    joined: tuple[tuple[Form, int | None], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """All outputs, and the inputs they are made of.

    Attributes:
        outputs: In the order of the graph.
        inputs: Shapes by name.
        integers: Names of the inputs that hold integers.
    """

    outputs: Sequence[OutputFacts]
    inputs: dict[str, Sizes]
    integers: frozenset[str] = frozenset()

    def image_sizes(self) -> tuple[int, int] | None:
        """Return height and width of the first image among the inputs."""
        for shape in self.inputs.values():
            if len(shape) != 4:
                continue
            sizes = shape[1:3] if shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4) else shape[2:]
            if sizes[0] is not None and sizes[1] is not None:
                return sizes[0], sizes[1]
        return None
