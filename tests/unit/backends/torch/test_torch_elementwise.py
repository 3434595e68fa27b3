import numpy as np
import pytest

UNARY = [
    "Abs", "Ceil", "Celu", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign",
    "Sin", "Sinh", "Softplus", "Softsign", "Tan", "Tanh", "ThresholdedRelu",
]  # fmt: skip


@pytest.mark.parametrize("op", UNARY)
def test_unary(compare, normal, op):
    compare(op, {"x": normal(3, 4, 5)})


@pytest.mark.parametrize("op", ["Sqrt", "Log"])
def test_positive(compare, normal, op):
    compare(op, {"x": np.abs(normal(3, 4)) + 0.1})


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("Gelu", {"approximate": "tanh"}),
        ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
        ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
        ("LeakyRelu", {"alpha": 0.3}),
        ("Elu", {"alpha": 2.0}),
        ("Celu", {"alpha": 2.0}),
        ("Selu", {"alpha": 2.0, "gamma": 3.0}),
        ("ThresholdedRelu", {"alpha": 0.3}),
        ("Shrink", {"lambd": 0.3, "bias": 0.2}),
    ],
)
def test_unary_attributes(compare, normal, op, attributes):
    compare(op, {"x": normal(3, 4, 5)}, **attributes)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Mean"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 1), (4,), ()])
@pytest.mark.parametrize("constant", [True, False])
def test_binary_broadcasts(compare, normal, op, shape, constant):
    a, b = np.abs(normal(2, 3, 4)) + 0.5, np.asarray(np.abs(normal(*shape)) + 0.5, np.float32)
    feeds, constants = ({"a": a}, {"b": b}) if constant else ({"a": a, "b": b}, {})
    compare(op, feeds, constants)
    compare(op, feeds, constants, order=["b", "a"])


@pytest.mark.parametrize("op", ["Div", "Mod"])
@pytest.mark.parametrize("divisor", [3, -3])
def test_integer_division_rounds_as_onnx(compare, op, divisor):
    a = np.arange(-7, 8, dtype=np.int64)
    found = compare(op, {"a": a, "b": np.full_like(a, divisor)})
    compare(op, {"a": a}, {"b": np.array(divisor)})
    assert found[0].dtype == np.int64


def test_fmod(compare, normal):
    compare("Mod", {"a": normal(20), "b": normal(20)}, fmod=1)


@pytest.mark.parametrize("op", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_comparisons(compare, rng, op):
    a, b = (rng.integers(0, 3, (4, 5)).astype(np.float32) for _ in range(2))
    compare(op, {"a": a, "b": b})


@pytest.mark.parametrize("op", ["And", "Or", "Xor"])
def test_logic(compare, rng, op):
    a, b = (rng.integers(0, 2, (4, 5)).astype(bool) for _ in range(2))
    compare(op, {"a": a, "b": b})


def test_where(compare, normal, rng):
    feeds = {"c": rng.integers(0, 2, (4, 1)).astype(bool), "a": normal(5), "b": normal(4, 5)}
    compare("Where", feeds)


@pytest.mark.parametrize(
    "order", [["x", "low", "high"], ["x", "", "high"], ["x", "low"], ["x"]], ids=len
)
def test_clip(compare, normal, order):
    bounds = {"low": np.float32(-0.5), "high": np.float32(0.7)}
    constants = {k: np.asarray(v) for k, v in bounds.items() if k in order}
    compare("Clip", {"x": normal(4, 5)}, constants, order=order)


def test_clip_of_opset_6(compare, normal):
    compare("Clip", {"x": normal(4, 5)}, opset=10, min=-0.5, max=0.7)


def test_clip_with_computed_bounds(compare, normal):
    bounds = {"low": np.array(-0.5, np.float32), "high": np.array(0.7, np.float32)}
    compare("Clip", {"x": normal(4, 5), **bounds})


@pytest.mark.parametrize("to", [1, 6, 7, 9, 11])
def test_cast(compare, normal, to):
    compare("Cast", {"x": normal(4, 5) * 3}, to=to)


@pytest.mark.parametrize("slope", [(3, 1, 1), (1,), (3, 4, 5)])
def test_prelu(compare, normal, slope):
    compare("PRelu", {"x": normal(2, 3, 4, 5)}, {"s": normal(*slope)})


def test_isnan(compare):
    compare("IsNaN", {"x": np.array([1, np.nan, np.inf], np.float32)})


@pytest.mark.parametrize(("negative", "positive"), [(1, 1), (0, 1), (1, 0)])
def test_isinf(compare, negative, positive):
    x = {"x": np.array([1, np.nan, np.inf, -np.inf], np.float32)}
    compare("IsInf", x, detect_negative=negative, detect_positive=positive)
