"""Layers, and what could not be cut, in ``report.json``."""

from acgraph.report.schema_base import Part


class RemovedUnits(Part):
    """The filters and columns of a layer that were removed: the mask of its matrix.

    Both are ascending numbers in the original layer as text, consecutive ones as a range:
    ``0-3 7 12-15``.

    Attributes:
        filters: The removed filters.
        columns: The removed columns, of every group.
        kernel: Spatial kernel; column ``c * prod(kernel) + k`` is position ``k`` of channel ``c``.
    """

    filters: str
    columns: str
    kernel: tuple[int, ...] = ()


class LayerForm(Part):
    """A form in which a layer could be stored.

    Attributes:
        form: Name of the form, with its variant.
        columns: Columns that it stores.
        params: Elements of its constants.
        latency_ms: Measured time of the layer alone; None if this form was not timed.
        chosen: Whether the layer is stored in this form.
    """

    form: str
    columns: int
    params: int
    latency_ms: float | None = None
    chosen: bool = False


class LayerChange(Part):
    """One layer; each pair is the value before and after.

    Attributes:
        name: Name of the layer.
        op_type: Its operator.
        filters: Numbers of filters.
        columns: Numbers of columns.
        lowering: The form in which the layer is stored.
        latency_ms: Sum of the median times of the layer's operators, from ONNX Runtime's profiler.
            The network's latency is measured without the profiler, so that the times of all layers
            need not add up to it.
        macs: Numbers of multiply-accumulates; None where one is unknown.
        fit_error: Error of the layer's output after the cut and after the refit, as a share of the
            variance of the output of the network before the cut; None if it was not refitted.
        removed: The removed filters and columns; None if they are unknown.
        forms: The forms among which the layer's form was chosen; empty if there was no choice.
    """

    name: str
    op_type: str
    filters: tuple[int, int]
    columns: tuple[int, int]
    lowering: str = "dense"
    latency_ms: tuple[float, float] | None = None
    macs: tuple[int, int] | None = None
    fit_error: tuple[float, float] | None = None
    removed: RemovedUnits | None = None
    forms: tuple[LayerForm, ...] = ()


class Fence(Part):
    """A node that prevents a cut.

    Attributes:
        node: Name of the node, or of the value.
        reason: Why it prevents the cut.
        share: Share of the weights that it keeps from being cut, among all constants of the
            original; 0 to 1. Weights that several fences keep count for each of them.
    """

    node: str
    reason: str
    share: float = 0.0


class Obstacle(Part):
    """Nodes that prevent weights from being cut for the same reason.

    Attributes:
        nodes: Names of the nodes, by the number of weights, largest first.
        reason: Why they prevent the cut.
        share: Share of the weights that cannot be cut, among all constants of the original; 0 to 1.
        inexact: Whether ``--allow-inexact`` would allow the cut.
    """

    nodes: tuple[str, ...]
    reason: str
    share: float
    inexact: bool
