import numpy as np
import pytest

from acgraph.data import ArrayDataset, Dataset, callables, load_dataset
from acgraph.errors import DataError

SOURCE = """
import numpy as np
from acgraph.data import ArrayDataset

X = np.arange(4 * 3 * 8 * 8, dtype=np.float32).reshape(4, 3, 8, 8)

def batches():
    return [(X[:3], [0, 1, 2]), (X[3:], [3])]

def samples():
    return ((x, i) for i, x in enumerate(X))

def bare():
    return iter(X)

def images():
    return [(np.full((8, 8, 3), i, np.uint8), i) for i in range(2)]

def dataset():
    return ArrayDataset(X, np.arange(4))

def wrong_dataset():
    return ArrayDataset(X[:, :1])

def empty():
    return []

def partly():
    return [(X, [0, 1, 2, 3]), X]

def ragged():
    return [X, X[:, :, :4]]

def flat():
    return [X.ravel()]

def short():
    return [(X, [0])]

def fails():
    raise KeyError("lost")

class Namespace:
    bare = staticmethod(bare)

number = 3
"""


@pytest.fixture(autouse=True)
def _module(tmp_path, monkeypatch):
    (tmp_path / "users_data.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    yield
    import sys

    sys.modules.pop("users_data", None)


def load(name, inputs, **options) -> Dataset:
    return load_dataset(f"users_data:{name}", inputs=inputs, **options)


@pytest.mark.parametrize("name", ["batches", "samples", "bare", "dataset", "Namespace.bare"])
def test_all_forms_give_the_same_examples(name, image_input):
    data = load(name, image_input)
    batch = data.batch(np.arange(4))
    x, y = batch.x, batch.labels
    np.testing.assert_array_equal(x.ravel(), np.arange(4 * 3 * 8 * 8))
    assert (y is None) == ("bare" in name)
    if y is not None:
        assert y.tolist() == [0, 1, 2, 3]


def test_images(image_input):
    batch = load("images", image_input, scale=1.0).batch(np.arange(2))
    x, y = batch.x, batch.labels
    assert x.shape == (2, 3, 8, 8)
    assert x[:, 0, 0, 0].tolist() == y.tolist() == [0, 1]


def test_a_dataset_is_used_as_it_is(image_input):
    assert isinstance(load("dataset", image_input), ArrayDataset)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "yields nothing"),
        ("partly", "labels for only 1 of 2"),
        ("ragged", r"has shape \[1, 3, 4, 8\] for one example, but the model takes input 'input'"),
        ("flat", r"item 0 has x of shape \[768\]"),
        ("short", "x has 4 examples, but y has 1"),
        ("fails", "failed with KeyError: 'lost'"),
        ("number", "is a int, not a callable"),
        ("nothing", "cannot be imported"),
        ("wrong_dataset", r"\[N, 1, 8, 8\].*takes \[N, 3, 8, 8\]"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(name, message, image_input):
    with pytest.raises(DataError, match=message) as caught:
        load(name, image_input)
    assert "\n" not in str(caught.value)


def test_an_endless_iterable_stops(image_input, monkeypatch):
    monkeypatch.setattr(callables, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="yields more than"):
        load("bare", image_input)


def test_a_missing_module(image_input):
    with pytest.raises(DataError, match="cannot be imported"):
        load_dataset("no_such_module_here:f", inputs=image_input)
