"""The variables of an ADMM run, and their file."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from acgraph.diagnostics import Location
from acgraph.errors import DataError, OutputError

Array = npt.NDArray[Any]
_LETTERS = ("w", "z", "u")


@dataclass(frozen=True, slots=True, eq=False)
class AdmmState:
    """The variables after a number of updates: arrays W, Z and U for each weight.

    Attributes:
        w: The trained weights.
        z: Their projections, which are in S exactly.
        u: Dual variables, scaled by ``rho``.
        update: The number of updates so far.
        rho: The penalty by which U is scaled.
    """

    w: Mapping[str, Array]
    z: Mapping[str, Array]
    u: Mapping[str, Array]
    update: int
    rho: float

    def save(self, path: Path) -> None:
        """Write to an ``.npz`` file atomically.

        Raises:
            OutputError: The file cannot be written.
        """
        names = list(self.w)
        head = json.dumps({"names": names, "update": self.update, "rho": self.rho})
        arrays: dict[str, Any] = {
            f"{letter}{index}": np.asarray(group[name])
            for letter, group in zip(_LETTERS, (self.w, self.z, self.u), strict=True)
            for index, name in enumerate(names)
        }
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb") as file:
                np.savez(file, **arrays, head=np.array(head))
            partial.replace(path)
        except OSError as error:
            where = Location(model=str(path))
            raise OutputError(f"cannot be written: {error.strerror}", location=where) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that ``save`` wrote.

        Raises:
            DataError: The file is missing or is not such a file.
        """
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                head = json.loads(str(file["head"]))
                names = head["names"]
                w, z, u = (
                    {name: file[f"{letter}{index}"] for index, name in enumerate(names)}
                    for letter in _LETTERS
                )
                return cls(w=w, z=z, u=u, update=int(head["update"]), rho=float(head["rho"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            where = Location(model=str(path))
            raise DataError("is not a saved ADMM state", location=where) from error
