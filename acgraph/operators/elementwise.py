"""Elementwise operators."""

from acgraph.operators.entry import DATA, Input, Operator, Role, Trait


def _unary(name: str, *traits: Trait, rule: str = "unary") -> Operator:
    """Return the entry of a function of one operand; the rule ``unary`` means f(0) = 0."""
    return Operator(
        name=name, rule=rule, batch="elementwise", kernel=name,
        traits=frozenset([Trait.SAME_SHAPE, *traits]),
    )  # fmt: skip


def _binary(name: str, rule: str, *traits: Trait, inputs: tuple[Input, ...] = ()) -> Operator:
    """Return the entry of a function of several operands with broadcasting."""
    return Operator(
        name=name, rule=rule, batch="elementwise", kernel=name, traits=frozenset(traits),
        inputs=inputs,
    )  # fmt: skip


_NOT_ZERO, _POLE = "unary_not_zero", "unary_pole"
_WEIGHED = (Trait.ARITHMETIC, Trait.AFFINE, Trait.LEARNT, Trait.CARRIES)

TABLE = (
    _unary("Abs"),
    _unary("Acos", rule=_NOT_ZERO),
    _unary("Acosh", rule=_POLE),
    _unary("Asin"),
    _unary("Asinh"),
    _unary("Atan"),
    _unary("Atanh"),
    _unary("BitwiseNot", rule=_NOT_ZERO),
    _unary("Cast", Trait.VIEW, Trait.LOSSY, Trait.CARRIES),
    _unary("CastLike"),
    _unary("Ceil", Trait.LOSSY),
    _unary("Celu"),
    _unary("Clip", Trait.LOSSY, rule="clip"),
    _unary("Cos", rule=_NOT_ZERO),
    _unary("Cosh", rule=_NOT_ZERO),
    Operator(
        name="Dropout", rule="unary", batch="same", kernel="Dropout",
        traits=frozenset([Trait.SAME_SHAPE, Trait.IMPURE]),
    ),
    _unary("Elu", Trait.LOSSY),
    _unary("Erf", Trait.LOSSY),
    _unary("Exp", Trait.LOSSY, Trait.CARRIES, rule=_NOT_ZERO),
    _unary("Floor", Trait.LOSSY),
    _unary("Gelu"),
    _unary("HardSigmoid", Trait.LOSSY, rule=_NOT_ZERO),
    _unary("HardSwish", Trait.LOSSY),
    _unary("Identity", Trait.VIEW, Trait.MOVES, Trait.CARRIES),
    _unary("IsInf"),
    _unary("IsNaN"),
    _unary("LeakyRelu", Trait.LOSSY),
    _unary("Log", Trait.LOSSY, rule=_POLE),
    _unary("Mish"),
    _unary("Neg", Trait.ARITHMETIC),
    _unary("Not", Trait.LOSSY, rule=_NOT_ZERO),
    _unary("Reciprocal", rule=_POLE),
    _unary("Relu", Trait.LOSSY),
    _unary("Round", Trait.LOSSY),
    _unary("Selu", Trait.LOSSY),
    _unary("Shrink"),
    _unary("Sigmoid", Trait.LOSSY, Trait.CARRIES, rule=_NOT_ZERO),
    _unary("Sign", Trait.LOSSY),
    _unary("Sin"),
    _unary("Sinh"),
    _unary("Softplus", Trait.LOSSY, rule=_NOT_ZERO),
    _unary("Softsign", Trait.LOSSY),
    _unary("Sqrt", Trait.ARITHMETIC, Trait.CARRIES),
    _unary("Swish"),
    _unary("Tan"),
    _unary("Tanh", Trait.LOSSY, Trait.CARRIES),
    _unary("ThresholdedRelu", Trait.LOSSY),
    _binary("Add", "sum", *_WEIGHED),
    _binary("And", "compare", Trait.LOSSY),
    _binary("BitShift", "unary"),
    _binary("BitwiseAnd", "compare"),
    _binary("BitwiseOr", "compare"),
    _binary("BitwiseXor", "compare"),
    _binary("Div", "quotient", *_WEIGHED),
    _binary("Equal", "compare", Trait.LOSSY),
    _binary("Greater", "compare", Trait.LOSSY),
    _binary("GreaterOrEqual", "compare", Trait.LOSSY),
    _binary("Less", "compare", Trait.LOSSY),
    _binary("LessOrEqual", "compare", Trait.LOSSY),
    _binary("Max", "sum", Trait.ARITHMETIC),
    _binary("Mean", "sum"),
    _binary("Min", "sum", Trait.ARITHMETIC),
    _binary("Mod", "quotient"),
    _binary("Mul", "product", *_WEIGHED),
    _binary("Or", "compare", Trait.LOSSY),
    _binary("PRelu", "prelu", inputs=(DATA, Input(Role.SCALE))),
    _binary("Pow", "power", Trait.ARITHMETIC),
    _binary("Sub", "sum", *_WEIGHED),
    _binary("Sum", "sum", Trait.LEARNT, Trait.CARRIES),
    _binary("Where", "where", Trait.LOSSY),
    _binary("Xor", "compare", Trait.LOSSY),
)  # fmt: skip
