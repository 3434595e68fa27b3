"""What holds of every registered pass, checked against ONNX Runtime and on random graphs."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acgraph.ir import Model, clone_model, input_sizes, proto_from_model, read_model
from acgraph.ir.sizes import declared_inputs, with_batch
from acgraph.ir.text import model_from_text, text_from_model
from acgraph.models.resnet import resnet_cifar
from acgraph.passes import REGISTRY
from acgraph.passmanager import Pass, PassManager, build_passes, load_pass, summary

NAMES = sorted(REGISTRY)
SHARED = Path(os.environ.get("ACGRAPH_SHARED", "../shared"))


def run(model: Model, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    data = proto_from_model(model).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def random_feeds(model: Model) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = with_batch(declared_inputs(model), input_sizes(model).shapes, 2)
    return {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}


STEPS = {
    "Relu": "{y} = Relu ({x})",
    "Identity": "{y} = Identity ({x})",
    "Dropout": "{y} = Dropout ({x})",
    "Cast": "{y} = Cast <to = 1> ({x})",
    "ToHalf": "{y}h = Cast <to = 10> ({x})  {y} = Cast <to = 1> ({y}h)",
    "Turn": "{y}t = Transpose <perm = [1, 0]> ({x})  {y} = Transpose <perm = [1, 0]> ({y}t)",
    "Still": "{y} = Transpose <perm = [0, 1]> ({x})",
    "Reshape": "{y} = Reshape ({x}, shape)",
    "Shape": "{y}s = Shape ({x})  {y} = Reshape ({x}, {y}s)",
    "Pad": "{y} = Pad ({x}, nothing)",
    "Folded": "{y}c = Mul (w, w)  {y}d = Add ({y}c, w)  {y} = Add ({x}, {y}d)",
    "Unread": "{y}u = Exp ({x})  {y} = Neg ({x})",
    "Constant": "{y}k = Constant <value = float[1] {{2.0}}> ()  {y} = Mul ({x}, {y}k)",
}


def graph_text(steps: list[str], batch: str, two_outputs: bool) -> str:
    body, last, middle = [], "x", "x"
    for index, step in enumerate(steps):
        body.append(STEPS[step].format(x=last, y=f"v{index}"))
        middle, last = last, f"v{index}"
    outputs = f"float[{batch},6] {last}"
    if two_outputs and middle != "x":
        outputs += f", float[{batch},6] {middle}"
    constants = "<float[6] w = {1,2,3,4,5,6}, int64[2] shape = {0,6}, int64[4] nothing = {0,0,0,0}>"
    lines = "\n  ".join(body)
    head = '<ir_version: 8, opset_import: ["" : 17]>'
    return f"{head}\ng (float[{batch},6] x) => ({outputs})\n{constants}\n{{\n  {lines}\n}}\n"


GRAPHS = st.builds(
    graph_text,
    st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=7),
    st.sampled_from(["2", "N"]),
    st.booleans(),
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(text=GRAPHS)
def test_a_pass_keeps_the_function_and_its_claim_and_is_idempotent(name, text):
    model = model_from_text(text)
    before, feeds = clone_model(model), random_feeds(model)
    manager = PassManager(build_passes(name, REGISTRY), check_claims=True)
    manager.run(model)
    once = text_from_model(model)
    (second,) = manager.run(model)
    assert not second.result.modified
    assert text_from_model(model) == once
    for ours, theirs in zip(run(model, feeds), run(before, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_pass_does_not_touch_the_model_that_a_clone_came_from(name):
    model = resnet_cifar(8)
    before = text_from_model(model)
    PassManager(build_passes(name, REGISTRY)).run(clone_model(model))
    assert text_from_model(model) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_pass_is_what_the_registry_and_the_style_say(name):
    pass_class = load_pass(name, REGISTRY)
    module = REGISTRY[name].partition(":")[0]
    assert issubclass(pass_class, Pass)
    assert pass_class.name == name
    assert module == f"acgraph.passes.{name.replace('-', '_')}"
    assert pass_class.__dataclass_params__.frozen
    assert summary(pass_class).endswith(".")
    assert all(f.default is not dataclasses.MISSING for f in dataclasses.fields(pass_class))


@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="needs ../shared/models")
@pytest.mark.parametrize("name", ["cifar10_resnet8_mlperf_tiny", "ultraface_slim_320"])
def test_canonicalising_a_real_network_keeps_its_function(name):
    model = read_model(SHARED / "models" / f"{name}.onnx")
    before, feeds = clone_model(model), random_feeds(model)
    if "ultraface" in name:
        feeds = {key: value[:1] for key, value in feeds.items()}
    pipeline = "fold-constants,eliminate-dead-nodes,infer-shapes"
    PassManager(build_passes(pipeline, REGISTRY), check_claims=True).run(model)
    for ours, theirs in zip(run(model, feeds), run(before, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
