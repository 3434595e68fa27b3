"""No example can change unseen, but where a note says which are not compared."""

import os
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acgraph.data import ArrayDataset, Batch, Dataset, FolderDataset, Pixels, Subset
from acgraph.data.checks import InputSpec
from acgraph.data.fingerprint import LIMIT, digest_of, of_array, of_files
from acgraph.data.generated import GeneratedDataset

PIXELS = Pixels(mean=(0.5,), std=(0.5,))


def array() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((50, 3, 4)).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_one_number_anywhere_is_seen(seed: int) -> None:
    x, rng = array(), np.random.default_rng(seed)
    before = of_array(x)
    place = tuple(rng.integers(0, x.shape))
    x[place] = np.nextafter(x[place], np.float32(9))
    assert of_array(x).digest != before.digest
    assert before.note == ""


def test_arrays_that_differ_in_more_than_a_number() -> None:
    x = array()
    others = [x[:-1], np.concatenate([x, x[:1]]), x[::-1], x.reshape(50, 4, 3), x.view(np.int32)]
    digests = {of_array(other).digest for other in [x, *others]}
    assert len(digests) == 6
    assert of_array(np.asfortranarray(x)) == of_array(x)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float16, np.bool_, np.float64])
def test_every_type_of_number_is_hashed(kind: type) -> None:
    x = np.zeros((3, 2), kind)
    before = of_array(x).digest
    x[2, 1] = 1
    assert of_array(x).digest != before


def test_of_large_arrays_a_sample_is_said() -> None:
    x = array()  # 48 bytes a row
    found = of_array(x, limit=480)
    assert found.note == "only 10 of 50 examples are compared when the run is resumed"
    x[1] += 1
    assert of_array(x, limit=480) == found
    x[5] += 1
    assert of_array(x, limit=480) != found
    assert of_array(np.concatenate([x, x]), limit=480).digest != found.digest


def test_where_one_text_ends_counts() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")


@pytest.mark.parametrize("place", [0, 3, 49])
def test_labels_and_pixels_are_part_of_an_array_dataset(place: int) -> None:
    x, y = array(), np.arange(50, dtype=np.int64)
    before = ArrayDataset(x, y).fingerprint.digest
    assert ArrayDataset(x).fingerprint.digest != before
    assert ArrayDataset(x, y, pixels=PIXELS).fingerprint.digest != before
    changed = y.copy()
    changed[place] += 1
    assert ArrayDataset(x, changed).fingerprint.digest != before
    assert ArrayDataset(x.copy(), y.copy()).fingerprint.digest == before


def test_a_subset_is_its_dataset_and_its_indices() -> None:
    x = array()
    first = Subset(ArrayDataset(x), np.arange(5)).fingerprint.digest
    assert Subset(ArrayDataset(x), np.arange(1, 6)).fingerprint.digest != first
    assert Subset(ArrayDataset(x.copy()), np.arange(5)).fingerprint.digest == first


def folder(path: Path) -> list[Path]:
    files = []
    for number, name in enumerate(["cat", "dog"]):
        (path / name).mkdir(parents=True)
        for k in range(3):
            files.append(path / name / f"{k}.bmp")
            Image.new("L", (4, 4), color=40 * number + k).save(files[-1])
    return files


def test_every_file_of_a_folder_counts(tmp_path: Path) -> None:
    files = folder(tmp_path / "a")

    def digest() -> str:
        return FolderDataset(tmp_path / "a", (4, 4), PIXELS).fingerprint.digest

    before = digest()
    content = files[4].read_bytes()
    os.utime(files[4], ns=(1, 1))
    assert digest() == before  # the same pictures, copied
    files[4].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert digest() != before
    files[4].write_bytes(content)
    assert digest() == before
    files[4].rename(tmp_path / "a" / "cat" / "9.bmp")
    assert digest() != before
    assert FolderDataset(tmp_path / "a", (5, 5), PIXELS).fingerprint.digest != digest()


def test_of_large_folders_dates_and_a_part_are_compared(tmp_path: Path) -> None:
    files = folder(tmp_path)
    total = sum(file.stat().st_size for file in files)
    found = of_files(files, tmp_path, limit=total // 2)
    assert found.note == (
        "when the run is resumed, only the names, sizes, modification times and 50 % of the "
        "content of 6 files are compared"
    )
    assert of_files(files, tmp_path, limit=total // 2) == found
    os.utime(files[2], ns=(1, 1))
    assert of_files(files, tmp_path, limit=total // 2) != found


class Made(Dataset):
    """A dataset of a user's own, whose examples are made when they are asked for."""

    def __init__(self, total: int, changed: int = -1) -> None:
        self._total, self._changed = total, changed

    @property
    def labels(self) -> None:
        return

    def __len__(self) -> int:
        return self._total

    def batch(self, indices: np.ndarray) -> Batch:
        x = np.repeat(indices.astype(np.float32)[:, None], 3, axis=1)
        x[indices == self._changed] += 0.5
        return Batch({"x": x})


@pytest.mark.parametrize("place", [0, 100, 999])
def test_a_dataset_made_on_demand_is_hashed_whole_where_it_is_small(place: int) -> None:
    assert Made(1000).fingerprint != Made(1000, place).fingerprint
    assert Made(1000).fingerprint == Made(1000).fingerprint
    assert Made(1000).fingerprint.note == ""


def test_of_a_large_one_a_sample_is_said() -> None:
    found = Made(4096).fingerprint
    assert found.note == "only 1024 of 4096 examples are compared when the run is resumed"
    assert Made(4096, 4).fingerprint != found
    assert Made(4097).fingerprint != found


def test_noise_is_known_by_its_number_and_shape() -> None:
    def digest(spec: str, *shape: int) -> str:
        return GeneratedDataset(spec, InputSpec("x", (None, *shape), np.float32)).fingerprint.digest

    assert digest("noise:5", 3, 8) == digest("noise:5", 3, 8)
    assert len({digest("noise:5", 3, 8), digest("noise:6", 3, 8), digest("noise:5", 3, 9)}) == 3


def test_a_dataset_is_hashed_once() -> None:
    assert isinstance(vars(Dataset)["fingerprint"], cached_property)
    assert LIMIT >= 1 << 30
