import numpy as np
import onnxruntime as ort
import pytest

from acgraph.backends.torch.trainer import TorchTrainer
from acgraph.data import ArrayDataset
from acgraph.errors import BackendError, UsageError
from acgraph.ir import proto_from_model


def session_outputs(model, x):
    session = ort.InferenceSession(
        proto_from_model(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def test_accuracy_is_that_of_onnxruntime(make):
    model, data = make.conv(seed=3), make.patterns(100)
    batch = data.batch(np.arange(100))
    x, y = batch.x, batch.labels
    expected = (session_outputs(model, x).argmax(1) == y).mean()
    trainer = TorchTrainer(model, None, config=make.plain())
    assert 0.1 < expected < 0.95
    assert trainer.evaluate(data) == pytest.approx(expected)
    some = np.arange(10) * 10
    expected = (session_outputs(model, x[some]).argmax(1) == y[some]).mean()
    assert trainer.evaluate(data, limit=10) == pytest.approx(expected)


def test_agreement_without_labels(make):
    student, teacher = make.conv(seed=2), make.conv(seed=4)
    data = make.patterns(100, labelled=False)
    x = data.batch(np.arange(100)).x
    same = session_outputs(student, x).argmax(1) == session_outputs(teacher, x).argmax(1)
    assert 0.05 < same.mean() < 0.95
    trainer = TorchTrainer(student, None, teacher=teacher, config=make.plain(batch_size=7))
    assert trainer.evaluate(data) == pytest.approx(same.mean())
    with pytest.raises(BackendError, match="neither labels nor a teacher"):
        TorchTrainer(student, None).evaluate(data)


def test_a_metric_of_the_users(make):
    data = make.blobs(50)

    def metric(outputs, y):
        assert outputs[0].shape == (len(y), 3)
        return float(len(y) > 5)

    trainer = TorchTrainer(make.linear(), None, config=make.plain(batch_size=15), metric=metric)
    assert trainer.evaluate(data) == pytest.approx(45 / 50)


def test_fast_runs_in_the_mode_of_training(make):
    data = make.patterns()
    trainer = TorchTrainer(make.conv(), data, config=make.plain(precision="bf16"))
    trainer.fit(epochs=1)
    weights = trainer.weights()
    dtypes = []

    def look(outputs, y):
        dtypes.append(outputs[0].astype(np.float64))
        return 0.0

    trainer._metric = look
    trainer.evaluate(data, limit=16)
    trainer.evaluate(data, limit=16, fast=True)
    exact, fast = dtypes
    assert (exact != fast).any()
    np.testing.assert_allclose(exact, fast, atol=0.05)
    assert all((trainer.weights()[k] == v).all() for k, v in weights.items())


def test_evaluation_does_not_train(make):
    data = make.patterns()
    trainer = TorchTrainer(make.conv(), data, config=make.plain())
    before = trainer.weights()
    trainer.evaluate(data)
    assert all((trainer.weights()[k] == v).all() for k, v in before.items())
    with pytest.raises(BackendError, match="no examples to evaluate"):
        trainer.evaluate(ArrayDataset(np.zeros((0, 3, 8, 8), np.float32), np.zeros(0, np.int64)))


def test_evaluation_inside_a_fit_changes_nothing(make):
    def run(**kwargs):
        trainer = TorchTrainer(make.conv(dropout=True), make.patterns(), config=make.plain())
        kwargs = {"on_epoch": lambda _: trainer.evaluate(make.patterns())} if kwargs else {}
        trainer.fit(epochs=2, **kwargs)
        return trainer.weights()

    a, b = run(), run(evaluating=True)
    assert all((a[name] == b[name]).all() for name in a)


def test_recalibration_is_the_average_over_batches(make):
    data = make.patterns(48)
    trainer = TorchTrainer(make.conv(), data, config=make.plain(augment=True))
    before = trainer.weights()
    trainer.recalibrate(3)  # 3 batches of 16: everything
    after = trainer.weights()
    x = data.batch(np.arange(48)).x
    w = before["conv1.w"]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    conv = np.einsum("nchwij,ocij->nohw", windows, w)
    np.testing.assert_allclose(after["bn.mean"], conv.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(after["bn.var"], conv.var((0, 2, 3)), rtol=0.05)
    for name in before.keys() - {"bn.mean", "bn.var"}:
        np.testing.assert_array_equal(after[name], before[name])


def test_a_channel_that_does_not_vary_keeps_its_variance(make):
    trainer = TorchTrainer(make.conv(), make.patterns(48), config=make.plain())
    weights = trainer.weights()
    dead = weights["conv1.w"].copy()
    dead[1] = 0
    trainer.load_weights({"conv1.w": dead})
    trainer.recalibrate(3)
    after = trainer.weights()
    same = after["bn.var"] == weights["bn.var"]
    assert same.tolist() == [channel == 1 for channel in range(len(same))]
    assert after["bn.mean"][1] == 0


def test_recalibration_takes_as_many_batches_as_stated(make):
    trainer = TorchTrainer(make.conv(), make.patterns(48), config=make.plain())
    trainer.recalibrate(1)
    one = trainer.weights()["bn.mean"]
    trainer.recalibrate(2)
    two = trainer.weights()["bn.mean"]
    trainer.recalibrate(1)
    assert (one != two).any()
    np.testing.assert_array_equal(trainer.weights()["bn.mean"], one)
    with pytest.raises(UsageError, match="0 batches"):
        trainer.recalibrate(0)


def test_recalibration_without_batchnorm(make):
    trainer = TorchTrainer(make.linear(), make.blobs(), config=make.plain())
    before = trainer.weights()
    trainer.recalibrate(1)
    assert all((trainer.weights()[k] == v).all() for k, v in before.items())


def test_the_teacher_is_asked_once_about_the_same_images(make, monkeypatch):
    data, other = (make.patterns(40, seed=seed, labelled=False) for seed in (0, 1))
    trainer = TorchTrainer(make.conv(seed=2), None, teacher=make.conv(seed=4), config=make.plain())
    runs = []
    module = trainer._teacher.module
    forward = module.forward
    monkeypatch.setattr(module, "forward", lambda x: runs.append(len(x)) or forward(x))
    first = trainer.evaluate(data)
    assert trainer.evaluate(data) == first
    assert runs == [16, 16, 8]
    limited = trainer.evaluate(data, limit=10)
    assert trainer.evaluate(other) != first
    assert 0 < limited < 1
    assert runs == [16, 16, 8, 10, 16, 16, 8]
    from acgraph.backends.torch import teacher

    monkeypatch.setattr(teacher, "MAX_BYTES", 0)
    third = make.patterns(16, seed=2, labelled=False)
    assert trainer.evaluate(third) == trainer.evaluate(third)
    assert runs[7:] == [16, 16]
