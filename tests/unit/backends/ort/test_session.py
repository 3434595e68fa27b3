"""Sessions: what runs, what it is fed, and how it fails."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from acgraph.backends.ort.bounds import integer_bounds
from acgraph.backends.ort.inputs import (
    fixed_batch,
    has_dynamic_batch,
    input_shapes,
    random_inputs,
)
from acgraph.backends.ort.session import Session, SessionSettings
from acgraph.backends.ort.sizes import file_sizes
from acgraph.errors import BackendError, ImportModelError, UsageError
from acgraph.ir import model_from_proto, read_model

ConvNet = Callable[..., onnx.ModelProto]
Parse = Callable[[str], bytes]


def test_runs_as_onnxruntime_does(conv_net: ConvNet, tmp_path: Path) -> None:
    proto = conv_net()
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    expected = ort.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]
    for source in (path, str(path), proto.SerializeToString(), model_from_proto(proto)):
        session = Session(source)
        output = session.run({"x": x})
        assert list(output) == ["logits"]
        np.testing.assert_allclose(output["logits"], expected, rtol=1e-5, atol=1e-6)
        assert session.providers == ["CPUExecutionProvider"]


def test_describes_inputs_and_outputs(conv_net: ConvNet) -> None:
    session = Session(conv_net(batch="N", size=8).SerializeToString())
    (x,) = session.inputs
    assert (x.name, x.dtype, x.shape, x.is_dynamic) == ("x", np.float32, ("N", 3, 8, 8), True)
    assert session.outputs[0].shape == ("N", 5)
    assert has_dynamic_batch(session)
    assert fixed_batch(session) is None
    assert fixed_batch(Session(conv_net(batch=4).SerializeToString())) == 4


def test_nchwc_is_off_unless_asked_for(conv_net: ConvNet, tmp_path: Path) -> None:
    def optimised_ops(nchwc: bool) -> set[str]:
        session = Session(
            conv_net(batch=1, size=16, channels=32).SerializeToString(),
            SessionSettings(nchwc=nchwc, profile=True),
        )
        session.run(random_inputs(session))
        record = session.end_profiling()
        return {op for op in ("ReorderOutput", "FusedConv") if f'"op_name" : "{op}"' in record}

    assert optimised_ops(nchwc=False) == {"FusedConv"}
    if optimised_ops(nchwc=True) == {"FusedConv"}:
        pytest.skip("this host has no NCHWc kernels")
    assert "ReorderOutput" in optimised_ops(nchwc=True)


def test_optimisation_can_be_switched_off(conv_net: ConvNet) -> None:
    def ran(settings: SessionSettings) -> str:
        session = Session(conv_net().SerializeToString(), settings)
        session.run(random_inputs(session))
        return session.end_profiling()

    assert '"BatchNormalization"' in ran(SessionSettings(optimisation="none", profile=True))
    assert '"BatchNormalization"' not in ran(SessionSettings(profile=True))


def test_threads_reach_onnxruntime(conv_net: ConvNet, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = ort.InferenceSession

    def spy(*args: object, **kwargs: object) -> object:
        seen.append(kwargs["sess_options"].intra_op_num_threads)  # type: ignore[attr-defined]
        return real(*args, **kwargs)

    monkeypatch.setattr(ort, "InferenceSession", spy)
    Session(conv_net().SerializeToString(), SessionSettings(threads=2))
    Session(conv_net().SerializeToString())
    assert seen == [2, 1]


def test_sequences_come_apart(parse: Parse) -> None:
    session = Session(
        parse(
            "g (float[4,2] x) => (seq(float) y){ y = SplitToSequence <axis = 0, keepdims = 1> (x) }"
        )
    )
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    output = session.run({"x": x})
    assert list(output) == [f"y[{index}]" for index in range(4)]
    np.testing.assert_array_equal(output["y[2]"], x[2:3])


def test_random_inputs_fit_every_type(parse: Parse) -> None:
    session = Session(
        parse(
            "g (float[2,3] f, float16[4] h, int64[N,5] i, uint8[9] u, bool[N] b, string[2] s) =>"
            " (float[2,3] f1, float16[4] h1, int64[N,5] i1, uint8[9] u1, bool[N] b1,"
            " string[2] s1)"
            "{ f1 = Identity(f) h1 = Identity(h) i1 = Identity(i) u1 = Identity(u)"
            " b1 = Identity(b) s1 = Identity(s) }"
        )
    )
    feeds = random_inputs(session, seed=1, batch=3, bounds={"i": 50})
    shapes = {name: array.shape for name, array in feeds.items()}
    assert shapes == {"f": (2, 3), "h": (4,), "i": (3, 5), "u": (9,), "b": (3,), "s": (2,)}
    assert feeds["i"].max() < 50
    assert feeds["i"].max() > 1
    assert random_inputs(session, batch=3)["i"].max() <= 1
    for name, array in session.run(feeds).items():
        np.testing.assert_array_equal(array, feeds[name[0]])
    again = random_inputs(session, seed=1, batch=3)
    other = random_inputs(session, seed=2, batch=3)
    np.testing.assert_array_equal(again["f"], feeds["f"])
    assert not np.array_equal(other["f"], feeds["f"])


def test_a_symbol_has_one_size_everywhere(parse: Parse) -> None:
    session = Session(
        parse(
            "g (float[N,L,3] x, float[L,N] m) => (float[N,L,3] y, float[L,N] n)"
            "{ y = Relu(x) n = Relu(m) }"
        )
    )
    assert input_shapes(session, batch=2) == {"x": (2, 16, 3), "m": (16, 2)}
    session.sizes = file_sizes("net.ort", session, {"x": (4, 5, 3)})
    assert input_shapes(session) == {"x": (4, 5, 3), "m": (5, 4)}
    assert input_shapes(session, batch=2) == {"x": (2, 5, 3), "m": (5, 2)}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1,)}, r"no input is named 'z'; the inputs are x \[N, 3, 8, 8\]"),
        ({"x": (1, 3, 9, 8)}, r"x:1,3,9,8 does not fit; the inputs are x \[N, 3, 8, 8\]"),
        ({"x": (1, 3)}, "x:1,3 does not fit"),
    ],
)
def test_shapes_must_fit(
    conv_net: ConvNet, shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        file_sizes("net.onnx", Session(conv_net().SerializeToString()), shapes)


def test_indices_stay_inside_their_tables(parse: Parse) -> None:
    proto = onnx.ModelProto.FromString(
        parse(
            "g (int64[1,4] ids, int64[1,4] kinds) => (float[1,4,3] y)"
            "<float[11,3] words = {" + ",".join(["1"] * 33) + "},"
            " float[2,3] types = {1,2,3,4,5,6}>"
            "{ c = Cast <to = 6> (ids) a = Gather(words, c) b = Gather(types, kinds)"
            " y = Add(a, b) }"
        )
    )
    assert integer_bounds(model_from_proto(proto)) == {"ids": 11, "kinds": 2}


def test_bad_feeds_are_one_line(net_path: Path) -> None:
    session = Session(net_path)
    good = random_inputs(session)["x"]
    for feeds, message in (
        ({}, "there is no value for the input 'x'; the inputs are x"),
        ({"x": good, "z": good}, "there is no input 'z'; the inputs are x"),
        ({"x": good.astype(np.float64)}, "Unexpected input data type"),
        ({"x": good[:, :2]}, "Got: 2 Expected: 3"),
    ):
        with pytest.raises(BackendError, match=message) as caught:
            session.run(feeds)
        assert "\n" not in str(caught.value)
        assert str(net_path) in str(caught.value)


def test_bad_models_are_one_line(tmp_path: Path, parse: Parse) -> None:
    with pytest.raises(ImportModelError, match="no such file"):
        Session(tmp_path / "none.onnx")
    with pytest.raises(BackendError, match="ONNX Runtime cannot load the model: ") as caught:
        Session(parse("g (float[1] x) => (float[1] y) { y = Nonesuch(x) }"))
    assert "\n" not in str(caught.value)
    assert "[ONNXRuntimeError]" not in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"threads": 0}, {"optimisation": "most"}], ids=["threads", "optimisation"]
)
def test_bad_settings(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SessionSettings(**settings)  # type: ignore[arg-type]


def test_marks_of_unknown_sizes_are_no_names(conv_net: ConvNet) -> None:
    proto = conv_net()
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    for axis, dim in enumerate(dims):
        dim.Clear()
        if axis == 1:
            dim.dim_value = 3
        else:
            dim.dim_param = "?"
    (entry,) = Session(proto.SerializeToString()).declared
    assert entry.shape == (None, 3, None, None)


def test_a_number_that_a_network_compares_has_a_value_that_it_knows(parse: Parse) -> None:
    proto = onnx.ModelProto.FromString(
        parse(
            "g (int64 rate, int64 size, int64[1,4] ids) => (bool a, bool b, bool[1,4] c)"
            "<int64 known = {16000}, int64 least = {32}, int64 pad = {0}>"
            "{ a = Equal(known, rate) b = Less(least, size) c = Equal(ids, pad) }"
        )
    )
    bounds = integer_bounds(model_from_proto(proto))
    assert bounds == {"rate": (16_000,), "size": (33,)}
    feeds = random_inputs(Session(proto.SerializeToString()), bounds=bounds)
    assert (feeds["rate"].tolist(), feeds["size"].tolist()) == (16_000, 33)
    assert feeds["ids"].max() <= 1


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x08\x08" * 40])
def test_what_is_no_model_is_called_so_by_every_reader(content: bytes, tmp_path: Path) -> None:
    """ONNX Runtime says of an empty file that it has no graph, of a text that parsing failed."""
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    expected = f"{path}: not an ONNX file, or a truncated one; export or copy it again"
    for read in (Session, read_model):
        with pytest.raises(ImportModelError) as caught:
            read(path)
        assert str(caught.value) == expected


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(ImportModelError, match="is a folder, not a file"):
        Session(tmp_path)
