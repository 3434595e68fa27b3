"""Facts about outputs, extracted from the graph, from which their tasks are guessed."""

from collections.abc import Sequence
from dataclasses import dataclass

from acgraph.tasks.kinds import Form

Sizes = tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFacts:
    """Facts about one output.

    Attributes:
        name: The name of the output.
        shape: Its sizes, the batch usually first; None if the rank is unknown.
        is_float: Whether its values are floats.
        form: The function that turns its values into probabilities; ``logits`` if there is none.
            Reshape, Transpose and similar nodes after it are ignored.
        form_axis: The axis of the softmax.
        is_unit: Whether its vectors are normalised to length 1 in the graph.
        last: Operator of the last layer or normalisation, such as Gemm or LayerNormalization.
        channel_axis: The axis of the last layer's filters; None if unknown.
        is_pooled: Whether the last layer follows global pooling.
        state_of: The input whose next recurrent state this output is; empty if there is none.
        joined: For an output that a Concat makes: the form and the number of columns of each part.
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
    """Facts about the outputs and the inputs of a model.

    Attributes:
        outputs: The outputs, in the order of the graph.
        inputs: Shapes of the inputs by name.
        integers: Names of the integer inputs.
    """

    outputs: Sequence[OutputFacts]
    inputs: dict[str, Sizes]
    integers: frozenset[str] = frozenset()

    def image_sizes(self) -> tuple[int, int] | None:
        """Return height and width of the first image input; None if there is none."""
        for shape in self.inputs.values():
            if len(shape) != 4:
                continue
            sizes = shape[1:3] if shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4) else shape[2:]
            if sizes[0] is not None and sizes[1] is not None:
                return sizes[0], sizes[1]
        return None
