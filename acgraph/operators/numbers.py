"""Operators that create tensors from attributes or sizes, and random operators."""

from acgraph.operators.entry import Input, Operator, Role, Trait

_RANDOM = "it draws random numbers"
_IMPURE = frozenset([Trait.IMPURE])


def _random(name: str, kernel: str = "") -> Operator:
    return Operator(name=name, fence=_RANDOM, kernel=kernel, traits=_IMPURE)


TABLE = (
    _random("Bernoulli", "Bernoulli"),
    Operator(name="Constant", kernel="Constant"),
    Operator(
        name="ConstantOfShape", rule="constant_of_shape", resize="constant_of_shape",
        inputs=(Input(Role.SIZES, "shape"),), kernel="ConstantOfShape",
    ),
    _random("Multinomial", "Multinomial"),
    _random("RandomNormal", "RandomNormal"),
    _random("RandomNormalLike", "RandomNormal"),
    _random("RandomUniform", "RandomUniform"),
    _random("RandomUniformLike", "RandomUniform"),
    Operator(name="Range", inputs=(Input(Role.COUNTS),) * 3, kernel="Range"),
    Operator(name="Shape", kernel="Shape"),
    Operator(name="Size", kernel="Size"),
)  # fmt: skip
