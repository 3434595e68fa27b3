"""Data made to break a reader: one line, before anything large is allocated."""

import io
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest

from acgraph.data import load_dataset
from acgraph.errors import DataError
from acgraph.limits import VARIABLE


def reject(path, image_input, *words, **options):
    def read():
        load_dataset(str(path), inputs=image_input, **options).batch(np.arange(1))

    with pytest.raises(DataError) as caught:
        read()
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


def archive():
    stream = io.BytesIO()
    np.savez(stream, x=np.ones((4, 3, 8, 8), np.float32))
    return bytearray(stream.getvalue())


def test_encrypted_archives_are_refused(tmp_path, image_input):
    data = archive()
    data[data.find(b"PK\3\4") + 6] |= 1
    data[data.find(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.npz").write_bytes(data)
    reject(tmp_path / "a.npz", image_input, "encrypted")


def test_unknown_compression_is_refused(tmp_path, image_input):
    data = archive()
    data[data.find(b"PK\3\4") + 8] = 99
    data[data.find(b"PK\1\2") + 10] = 99
    (tmp_path / "a.npz").write_bytes(data)
    reject(tmp_path / "a.npz", image_input, "not a readable .npz file")


def test_damaged_archives_are_refused(tmp_path, image_input):
    data = archive()
    data[400] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(data)
    reject(tmp_path / "a.npz", image_input, "not a readable .npz file")


def claiming(path, shape, content):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
        target.writestr("x.npy", start + content)
    return path


@pytest.mark.parametrize("count", [10**6, 10**15, 10**30])
def test_arrays_that_claim_more_than_they_have_are_refused(tmp_path, image_input, count):
    path = claiming(tmp_path / "a.npz", (count, 3, 8, 8), bytes(1000))
    reject(path, image_input, "claims the shape")


def test_archives_that_expand_without_measure_are_refused(tmp_path, image_input, monkeypatch):
    monkeypatch.setattr("acgraph.data.npz._SMALL_BYTES", 1 << 16)
    path = claiming(tmp_path / "a.npz", (1500, 3, 8, 8), bytes(1500 * 3 * 8 * 8 * 4))
    reject(path, image_input, "expands from", VARIABLE)
    monkeypatch.setenv(VARIABLE, "4M")
    assert len(load_dataset(str(path), inputs=image_input)) == 1500
    monkeypatch.setenv(VARIABLE, "1M")
    reject(path, image_input, "limit is 1.0 MiB")


@pytest.mark.parametrize("spec", ["noise:99999999999999999999", "synthetic:" + "9" * 6000])
def test_more_generated_examples_than_can_be_counted_are_refused(image_input, spec):
    reject(spec, image_input, "at most" if len(spec) < 100 else "too long")


def picture(path, width, height):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", size), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_image_bombs_are_refused(tmp_path, image_input, side):
    (tmp_path / "a").mkdir()
    picture(tmp_path / "a" / "1.png", side, side)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of the first one
        reject(tmp_path, image_input, "1.png", scale=1.0)


@pytest.mark.parametrize("when", ["import", "call"])
def test_code_that_exits_is_an_error(tmp_path, monkeypatch, image_input, when):
    body = "raise SystemExit(0)\n"
    text = body if when == "import" else f"def make():\n    {body}"
    (tmp_path / f"exiting_{when}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    reject(f"exiting_{when}:make", image_input, "sys.exit(0)")
