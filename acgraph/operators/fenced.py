"""Operators that no cut can cross, each with the reason."""

from acgraph.operators.domains import QUANTISED
from acgraph.operators.entry import Operator, Trait

_POSITIONS = "it converts between positions and values"
_DATA = "the positions of its results depend on the data"
_SEQUENCES = "sequences and maps are not analysed"
_SUBGRAPHS = "its subgraphs are not analysed"
_BRANCHES = "each branch is pruned separately, so its inputs and outputs keep their size"
_SIGNAL = "it transforms a whole axis"
_LOSSY, _IMPURE = frozenset([Trait.LOSSY]), frozenset([Trait.IMPURE])
_WINDOW = frozenset([Trait.WINDOW])

TABLE = (
    Operator(name="ConvInteger", fence=QUANTISED, macs="conv", traits=_WINDOW),
    Operator(name="DequantizeLinear", fence=QUANTISED),
    Operator(name="DynamicQuantizeLinear", fence=QUANTISED),
    Operator(name="MatMulInteger", fence=QUANTISED, macs="matmul"),
    Operator(name="QLinearConv", fence=QUANTISED, macs="quantised_conv", traits=_WINDOW),
    Operator(name="QLinearMatMul", fence=QUANTISED, macs="matmul"),
    Operator(name="QuantizeLinear", fence=QUANTISED),
    Operator(name="EyeLike", fence=_POSITIONS, kernel="EyeLike"),
    Operator(name="OneHot", fence=_POSITIONS, kernel="OneHot", traits=_LOSSY),
    Operator(name="Compress", fence=_DATA, kernel="Compress"),
    Operator(name="MaxUnpool", fence=_DATA),
    Operator(name="NonMaxSuppression", fence=_DATA, kernel="NonMaxSuppression", traits=_LOSSY),
    Operator(name="NonZero", fence=_DATA, kernel="NonZero", traits=_LOSSY),
    Operator(name="StringNormalizer", fence=_DATA),
    Operator(name="Unique", fence=_DATA),
    Operator(name="ConcatFromSequence", fence=_SEQUENCES),
    Operator(name="Optional", fence=_SEQUENCES, traits=_IMPURE),
    Operator(name="OptionalGetElement", fence=_SEQUENCES),
    Operator(name="OptionalHasElement", fence=_SEQUENCES),
    Operator(name="SequenceAt", fence=_SEQUENCES),
    Operator(name="SequenceConstruct", fence=_SEQUENCES),
    Operator(name="SequenceEmpty", fence=_SEQUENCES),
    Operator(name="SequenceErase", fence=_SEQUENCES),
    Operator(name="SequenceInsert", fence=_SEQUENCES),
    Operator(name="SequenceLength", fence=_SEQUENCES),
    Operator(name="SplitToSequence", fence=_SEQUENCES),
    Operator(name="DFT", fence=_SIGNAL),
    Operator(name="STFT", fence=_SIGNAL, traits=_WINDOW),
    Operator(name="If", fence=_BRANCHES, traits=_IMPURE),
    Operator(name="Loop", fence=_SUBGRAPHS, traits=_IMPURE),
    Operator(name="Scan", fence=_SUBGRAPHS, traits=_IMPURE),
    Operator(name="SequenceMap", fence=_SUBGRAPHS, traits=_IMPURE),
)
