"""Data of networks of several inputs: every form gives the same examples."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from acgraph.data import Batch, Dataset, cut_indices, load_dataset
from acgraph.data.in_memory import registered_data
from acgraph.errors import AcgraphError, DataError

RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 50, (6, 5))
MASK = np.ones((6, 5), np.int64)
STATE = RNG.standard_normal((2, 6, 3)).astype(np.float32)
RATE = np.array(16000)
LABELS = np.array([0, 1, 2, 0, 1, 2])
#: Tokens, a mask, a state whose batch is not on axis 0, and a rate that the batch shares.
INPUTS = [
    ("ids", ("batch", 5), np.int64),
    ("mask", ("batch", 5), np.int64),
    ("state", (2, "batch", 3), np.float32, 1),
    ("rate", (), np.int64, None),
]
ARRAYS = {"ids": IDS, "mask": MASK, "state": STATE, "rate": RATE}


def sample(i: int, **changed: Any) -> dict[str, Any]:
    one = {"ids": IDS[i], "mask": MASK[i], "state": STATE[:, i], "rate": RATE, "y": LABELS[i]}
    return {**one, **changed}


def check(dataset: Dataset) -> None:
    """The examples are those above, however many are read at once."""
    assert len(dataset) == 6
    assert dataset.labels is not None
    assert dataset.labels.tolist() == LABELS.tolist()
    rows = np.array([4, 1, 2])
    batch = dataset.batch(rows)
    assert len(batch) == 3
    np.testing.assert_array_equal(batch.inputs["ids"], IDS[rows])
    np.testing.assert_array_equal(batch.inputs["mask"], MASK[rows])
    np.testing.assert_array_equal(batch.inputs["state"], STATE[:, rows])
    assert batch.inputs["rate"].shape == ()
    assert batch.inputs["rate"] == 16000
    assert [batch.inputs[name].dtype for name in ("ids", "state")] == [np.int64, np.float32]
    np.testing.assert_array_equal(batch.labels, LABELS[rows])


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"state": STATE.transpose(1, 0, 2)},  # the examples first
        {"state": STATE.transpose(1, 0, 2)[:, :, None]},  # each of them a batch of one
        {"rate": np.full(6, 16000)},
        {"rate": np.array([16000])},
        {"ids": IDS.astype(np.int32)},
    ],
)
def test_arrays_may_lie_as_the_network_takes_them_or_the_examples_first(
    tmp_path: Path, changed: dict[str, np.ndarray]
) -> None:
    arrays = {**ARRAYS, **changed, "y": LABELS}
    np.savez(tmp_path / "data.npz", **arrays)
    check(load_dataset(str(tmp_path / "data.npz"), inputs=INPUTS))
    whole = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    save_file(whole, tmp_path / "data.safetensors")
    check(load_dataset(str(tmp_path / "data.safetensors"), inputs=INPUTS))


def test_a_folder_of_files_of_one_example_each(tmp_path: Path) -> None:
    for i in range(6):
        np.savez(tmp_path / f"{i}.npz", **sample(i))
    check(load_dataset(str(tmp_path), inputs=INPUTS))


class Items:
    """What PyTorch calls a map-style data set."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> Any:
        return self._items[number]


@pytest.mark.parametrize(
    "data",
    [
        {**ARRAYS, "y": LABELS},
        (IDS, MASK, STATE, RATE, LABELS),
        [sample(i) for i in range(6)],
        Items([sample(i) for i in range(6)]),
        [tuple(sample(i).values()) for i in range(6)],
        [(tuple(sample(i).values())[:4], LABELS[i]) for i in range(6)],
        lambda: ({**ARRAYS, "ids": IDS[p], "mask": MASK[p], "state": STATE[:, p], "y": LABELS[p]}
                 for p in (slice(0, 4), slice(4, 6))),
    ],
    ids=["dictionary", "arrays", "dictionaries", "data set", "tuples", "pairs", "batches"],
)  # fmt: skip
def test_what_programs_hold(data: Any) -> None:
    with registered_data({"data": data}) as names:
        check(load_dataset(names["data"], inputs=INPUTS))


def test_a_part_of_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **ARRAYS)
    found = load_dataset(f"{tmp_path / 'data.npz'}#[2:5]", inputs=INPUTS)
    assert len(found) == 3
    np.testing.assert_array_equal(found.batch(np.arange(3)).inputs["state"], STATE[:, 2:5])
    with pytest.raises(
        DataError, match="selects arrays by name, but the arrays for several inputs"
    ):
        load_dataset(f"{tmp_path / 'data.npz'}#ids,y", inputs=INPUTS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mask": None}, r"an array is missing for input 'mask', int64 \[N, 5\]; give an array"),
        ({"state": None}, r"array is missing for input 'state', float32 \[2, N, 3\]"),
        (
            {"mask": None, "masks": MASK},
            r"'masks' does not belong to any input .*did you mean 'mask'\?",
        ),
        (
            {"tokens": IDS},
            "'tokens' does not belong to any input of the model; the inputs are ids, mask, state",
        ),
        (
            {"ids": IDS[:, :4]},
            r"array 'ids' has shape \[6, 4\], but the model takes input 'ids', int64",
        ),
        ({"mask": MASK[:5]}, r"array 'mask' has shape \[5, 5\], but .*and there are 6 examples"),
        (
            {"ids": IDS.astype(np.float32)},
            "'ids' is float32, but the model takes int64; give integers",
        ),
        ({"state": np.full_like(STATE, np.nan)}, "'state' holds 36 NaN or infinite values"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    arrays = {name: value for name, value in {**ARRAYS, **changed}.items() if value is not None}
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(str(tmp_path / "data.npz"), inputs=INPUTS)
    assert "\n" not in str(caught.value)


def test_the_message_that_the_documentation_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ids = np.zeros((3, 128), np.int64)
    np.savez("train.npz", input_id=ids, attention_mask=ids)
    inputs = [(name, ("batch", 128), np.int64) for name in ("input_ids", "attention_mask")]
    with pytest.raises(DataError) as caught:
        load_dataset("train.npz", inputs=inputs)
    assert str(caught.value) in " ".join(page.split())


def test_an_example_that_does_not_fit_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", **sample(0))
    np.savez(tmp_path / "1.npz", **sample(1, state=STATE[:, :2]))
    message = (
        r"1\.npz: 'state' has shape \[2, 2, 3\] for one example, but the model takes input 'state'"
    )
    with pytest.raises(DataError, match=message):
        load_dataset(str(tmp_path), inputs=INPUTS)


def test_an_input_may_be_called_y() -> None:
    """Labels are then called ``labels``."""
    inputs = [("x", ("n", 3), np.float32), ("y", ("n", 3), np.float32)]
    x, y = RNG.standard_normal((2, 4, 3)).astype(np.float32)
    with registered_data({"data": {"x": x, "y": y, "labels": LABELS[:4]}}) as names:
        found = load_dataset(names["data"], inputs=inputs)
    batch = found.batch(np.arange(4))
    np.testing.assert_array_equal(batch.inputs["y"], y)
    np.testing.assert_array_equal(batch.labels, LABELS[:4])


OPEN = [("ids", ("batch", "length"), np.int64), ("rate", (), np.int64, None)]


def test_examples_of_one_size_share_a_batch() -> None:
    items = [{"ids": np.full(3 + i % 2, i), "rate": 8000 * (1 + (i > 3))} for i in range(8)]
    with registered_data({"data": items}) as names:
        found = load_dataset(names["data"], inputs=OPEN)
    parts = list(cut_indices(found, np.arange(8), 2))
    assert [part.tolist() for part in parts] == [[0, 2], [1, 3], [4, 6], [5, 7]]
    for part in parts:
        batch = found.batch(part)
        np.testing.assert_array_equal(batch.inputs["ids"][:, 0], part)
        assert batch.inputs["rate"] == (16000 if part[0] > 3 else 8000)


def test_one_input_of_several_sizes() -> None:
    items = [np.full((2 + i % 3, 4), i, np.float32) for i in range(6)]
    with registered_data({"data": [(x, i) for i, x in enumerate(items)]}) as names:
        found = load_dataset(names["data"], inputs=[("x", ("n", "t", 4), np.float32)])
    assert found.groups is not None
    assert found.groups.tolist() == [0, 1, 2, 0, 1, 2]
    batch = found.batch(np.array([1, 4]))
    assert batch.x.shape == (2, 3, 4)
    np.testing.assert_array_equal(batch.labels, [1, 4])


def test_noise_of_several_inputs() -> None:
    inputs = [
        ("ids", ("batch", 7), np.int64, 0, 30),
        ("attention_mask", ("batch", 7), np.int64, 0),
        ("state", (2, "batch", 3), np.float32, 1, None, True),
        ("rate", (), np.int64, None, (8000, 16000)),
        ("left", ("batch", 9), np.float32),
        ("right", ("batch", 9), np.float32),
    ]
    found = load_dataset("noise:40", inputs=inputs)
    batch = found.batch(np.arange(40))
    assert batch.inputs["ids"].max() in range(20, 30)
    assert batch.inputs["ids"].min() >= 0
    assert (batch.inputs["attention_mask"] == 1).all()
    assert batch.inputs["rate"] in (8000, 16000)
    state = batch.inputs["state"]
    assert state.shape == (2, 40, 3)
    assert (state[:, ::2] == 0).all()
    assert (np.abs(state[:, 1::2]) < 1).all()
    assert (state[:, 1::2] != 0).all()
    assert not np.array_equal(batch.inputs["left"], batch.inputs["right"])
    np.testing.assert_array_equal(found.batch(np.array([7])).inputs["state"][:, 0], state[:, 7])


def test_parts_of_a_batch() -> None:
    batch = Batch({"a": np.arange(6), "s": STATE}, LABELS, {"s": 1})
    part = batch.take(slice(2, 4))
    assert len(part) == 2
    np.testing.assert_array_equal(part.inputs["s"], STATE[:, 2:4])
    assert part.filled(3).inputs["a"].tolist() == [2, 3, 3]
    sent = pickle.loads(pickle.dumps(Batch({"a": np.arange(6)})))  # to a worker of the search
    assert sent.x.tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(AcgraphError, match="no array for input 'b', only for a, s"):
        list(batch.named(["a", "b"]))


def test_noise_of_one_stream_at_a_time() -> None:
    """A signal of any length that a whole batch shares differs from example to example."""
    inputs = [("x", (9, 4), np.float32, None), ("h", (1, 1, 8), np.float32, 1)]
    found = load_dataset("noise:5", inputs=inputs)
    assert [part.tolist() for part in cut_indices(found, np.arange(3), 2)] == [[0], [1], [2]]
    first, second = (found.batch(np.array([i])).inputs["x"] for i in (0, 1))
    assert first.shape == (9, 4)
    assert not np.array_equal(first, second)


def test_labels_that_are_maps() -> None:
    maps = RNG.integers(0, 3, (6, 4))
    items = [sample(i, y=maps[i]) for i in range(6)]
    with registered_data({"data": items}) as names:
        found = load_dataset(names["data"], inputs=INPUTS)
    np.testing.assert_array_equal(found.labels, maps)
    items[3]["y"] = maps[3, :2]
    with (
        registered_data({"data": items}) as names,
        pytest.raises(DataError, match="different shapes"),
    ):
        load_dataset(names["data"], inputs=INPUTS)
