"""The networks that the project builds: valid, runnable, of the published size."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from acgraph.analysis.cost import model_cost
from acgraph.errors import DataError, UsageError
from acgraph.ir import Model, proto_from_model
from acgraph.models.blocks import BATCHNORM_EPSILON, node_name
from acgraph.models.lenet5 import lenet5
from acgraph.models.mobilenet import mobilenet_v2
from acgraph.models.resnet import resnet18, resnet_cifar
from acgraph.models.vgg import vgg16


def run(model: Model, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        proto_from_model(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    result: np.ndarray = session.run(None, {"input": x})[0]
    return result


def learnable(model: Model) -> int:
    """Count what PyTorch calls parameters: BatchNorm's running statistics are not among them."""
    names = (".weight", ".bias")
    return sum(v.size for name, v in model.constants().items() if name.endswith(names))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def shaken(model: Model) -> dict[str, np.ndarray]:
    """Return the weights of a network with its BatchNorm no longer the identity."""
    rng = np.random.default_rng(2)
    weights = {}
    for name, values in model.constants().items():
        if values.dtype == np.float32 and not name.startswith("/"):
            factor = rng.uniform(0.7, 1.3, values.shape)
            offset = rng.uniform(0.0, 0.2, values.shape) if values.ndim == 1 else 0.0
            weights[name] = (values.astype(np.float32) * factor + offset).astype(np.float32)
    return weights


# Published: LeNet-5 431 k (Han et al. 2015, 2.29 M MACs); He et al. 2016 and the counts of
# the usual PyTorch versions for CIFAR; torchvision's model pages for ImageNet.
PUBLISHED: dict[str, tuple[Callable[[], Model], int, float]] = {
    "lenet5": (lenet5, 431_080, 2.293e6),
    "vgg16": (vgg16, 14_724_042, 313.2e6),
    "resnet20 pad": (lambda: resnet_cifar(20, shortcut="pad"), 269_722, 40.55e6),
    "resnet20 conv": (lambda: resnet_cifar(20), 272_474, 40.81e6),
    "resnet56 pad": (lambda: resnet_cifar(56, shortcut="pad"), 853_018, 125.49e6),
    "resnet8 conv": (lambda: resnet_cifar(8), 78_042, 12.50e6),
    "resnet18 cifar": (resnet18, 11_173_962, 555.4e6),
    "resnet18 imagenet": (
        lambda: resnet18(stem="imagenet", image=224, classes=1000),
        11_689_512,
        1814.1e6,
    ),
    "mobilenet_v2 imagenet": (
        lambda: mobilenet_v2(stem="imagenet", image=224, classes=1000),
        3_504_872,
        300.8e6,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_params_and_macs_are_the_published_ones(name: str) -> None:
    build, params, macs = PUBLISHED[name]
    model = build()
    assert learnable(model) == params
    cost = model_cost(model)
    assert not cost.unknown
    assert cost.macs == pytest.approx(macs, rel=5e-4)


SMALL: dict[str, tuple[Callable[..., Model], int, int]] = {
    "vgg16": (lambda **kw: vgg16(width=0.125, **kw), 3, 32),
    "resnet8": (lambda **kw: resnet_cifar(8, **kw), 3, 32),
    "resnet14 pad": (lambda **kw: resnet_cifar(14, shortcut="pad", **kw), 3, 32),
    "resnet18": (lambda **kw: resnet18(width=0.125, **kw), 3, 32),
    "resnet18 imagenet": (
        lambda **kw: resnet18(width=0.125, stem="imagenet", image=64, **kw),
        3,
        64,
    ),
    "mobilenet_v2": (lambda **kw: mobilenet_v2(width=0.25, **kw), 3, 32),
    "mobilenet_v2 imagenet": (
        lambda **kw: mobilenet_v2(width=0.25, stem="imagenet", image=64, **kw),
        3,
        64,
    ),
}


@pytest.mark.parametrize("name", SMALL)
def test_folding_batchnorm_keeps_the_function(name: str) -> None:
    build, channels, image = SMALL[name]
    weights = shaken(build(classes=7))
    kept = build(classes=7, weights=weights)
    folded = build(classes=7, weights=weights, keep_batchnorm=False)
    onnx.checker.check_model(proto_from_model(kept), full_check=True)
    onnx.checker.check_model(proto_from_model(folded), full_check=True)
    assert not any(node.op == "BatchNormalization" for node in folded.graph.nodes)
    x = noise(2, channels, image, image)
    expected = run(kept, x)
    assert expected.shape == (2, 7)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(run(folded, x), expected, rtol=1e-3, atol=1e-4 * np.ptp(expected))


def test_lenet5_is_what_torch_computes() -> None:
    weights = shaken(lenet5(width=0.5))
    model = lenet5(width=0.5, weights=weights)
    onnx.checker.check_model(proto_from_model(model), full_check=True)
    w = {name: torch.from_numpy(values) for name, values in weights.items()}
    x = noise(3, 1, 28, 28)
    y = torch.from_numpy(x)
    for conv in ("conv1", "conv2"):
        y = F.max_pool2d(F.conv2d(y, w[f"{conv}.weight"], w[f"{conv}.bias"]), 2)
    y = F.relu(F.linear(y.flatten(1), w["fc1.weight"], w["fc1.bias"]))
    y = F.linear(y, w["fc2.weight"], w["fc2.bias"])
    np.testing.assert_allclose(run(model, x), y.numpy(), rtol=1e-4, atol=1e-4)


def test_resnet_with_padded_shortcuts_is_what_torch_computes() -> None:
    weights = shaken(resnet_cifar(8, shortcut="pad", widths=(4, 8, 16)))
    model = resnet_cifar(8, shortcut="pad", widths=(4, 8, 16), weights=weights)
    w = {name: torch.from_numpy(values) for name, values in weights.items()}

    def conv_bn(x: torch.Tensor, conv: str, norm: str, stride: int) -> torch.Tensor:
        y = F.conv2d(x, w[f"{conv}.weight"], stride=stride, padding=1)
        mean, variance = w[f"{norm}.running_mean"], w[f"{norm}.running_var"]
        return F.batch_norm(
            y, mean, variance, w[f"{norm}.weight"], w[f"{norm}.bias"], eps=BATCHNORM_EPSILON
        )

    x = noise(2, 3, 32, 32)
    y = F.relu(conv_bn(torch.from_numpy(x), "conv1", "bn1", 1))
    for stage, width in ((1, 4), (2, 8), (3, 16)):
        block, stride = f"layer{stage}.0", 1 if stage == 1 else 2
        z = F.relu(conv_bn(y, f"{block}.conv1", f"{block}.bn1", stride))
        z = conv_bn(z, f"{block}.conv2", f"{block}.bn2", 1)
        if stage > 1:
            y = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, width // 4, width // 4))
        y = F.relu(z + y)
    expected = F.linear(y.mean((2, 3)), w["fc.weight"], w["fc.bias"])
    np.testing.assert_allclose(run(model, x), expected.numpy(), rtol=1e-4, atol=1e-4)


def test_weights_depend_on_seed_and_name_only() -> None:
    a, b = resnet_cifar(8, seed=3).constants(), resnet_cifar(14, seed=3).constants()
    np.testing.assert_array_equal(a["layer2.0.conv1.weight"], b["layer2.0.conv1.weight"])
    other = resnet_cifar(8, seed=4).constants()
    assert not np.array_equal(a["layer2.0.conv1.weight"], other["layer2.0.conv1.weight"])
    # He's rule: the variance of a weight is 2 / (filters * kernel area).
    assert a["layer3.0.conv2.weight"].std() == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.02)


def test_nodes_are_named_as_pytorch_exports_them() -> None:
    assert node_name("features.1.conv.0.0", "Conv") == (
        "/features/features.1/conv/conv.0/conv.0.0/Conv"
    )
    names = [node.name for node in resnet_cifar(8, keep_batchnorm=False).graph.nodes]
    assert len(set(names)) == len(names)
    assert "/layer2/layer2.0/downsample/downsample.0/Conv" in names
    assert {"/layer1/layer1.0/relu/Relu", "/layer1/layer1.0/relu_1/Relu"} <= set(names)


def test_size_options_are_heeded() -> None:
    model = resnet_cifar(6, channels=1, image=28, widths=(8, 12), strides=(2, 2), classes=3)
    weights = model.constants()
    assert weights["conv1.weight"].shape == (8, 1, 3, 3)
    assert weights["layer2.0.conv2.weight"].shape == (12, 12, 3, 3)
    assert weights["fc.weight"].shape == (3, 12)
    shapes = {node.name: node.outputs[0].shape for node in model.graph.nodes}
    assert shapes["/layer1/layer1.0/conv1/Conv"] == ["batch", 8, 14, 14]
    assert shapes["/layer2/layer2.0/conv1/Conv"] == ["batch", 12, 7, 7]
    assert run(model, noise(2, 1, 28, 28)).shape == (2, 3)


def test_wrong_options_and_weights_are_refused() -> None:
    with pytest.raises(UsageError, match="no ResNet of 3 stages has 9 layers"):
        resnet_cifar(9)
    with pytest.raises(UsageError, match="3 stages cannot have 2 strides"):
        resnet_cifar(8, strides=(1, 2))
    with pytest.raises(UsageError, match="too small"):
        lenet5(image=8)
    weights = {name: np.asarray(v) for name, v in lenet5().constants().items()}
    missing = {name: values for name, values in weights.items() if name != "fc1.bias"}
    with pytest.raises(DataError, match=r"'fc1\.bias' is missing"):
        lenet5(weights=missing)
    with pytest.raises(DataError, match=r"has shape \[250\]; its shape must be \[500\]"):
        lenet5(weights={**weights, "fc1.bias": weights["fc1.bias"][:250]})
    with pytest.raises(DataError, match=r"has no weight 'fc3\.bias'"):
        lenet5(weights={**weights, "fc3.bias": weights["fc1.bias"]})
