"""The cut of a model by the names and indices of the original file: ``plan.json``.

::

    {
      "schema": 1,
      "version": "0.1.0",
      "source_sha256": "9f2c...",
      "axes": [{"tensor": "0.weight", "reader": "", "axis": 0, "size": 16, "removed": [3, 5]}],
      "columns": [{"layer": "/2/Conv", "shape": [16, 3, 3], "removed": [0, 1, 9]}],
      "forms": [{"layer": "/2/Conv", "form": "gather", "variant": ""}]
    }
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pydantic
from pydantic import BaseModel, ConfigDict, Field

from acgraph.analysis.labels import Ints
from acgraph.diagnostics import Location, counted
from acgraph.errors import UsageError

Index = Annotated[int, Field(ge=0)]
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class AxisCut(BaseModel):
    """The removed indices on one axis of a stored tensor.

    Attributes:
        tensor: Name of the tensor in the file: an initializer, or the output of a Constant node.
        reader: If several nodes read the tensor and their cuts differ: the node whose copy of the
            tensor is meant. Empty for the tensor itself.
        axis: The axis, from 0.
        size: The size of the axis in the file.
        removed: The removed indices, ascending.
    """

    model_config = _FROZEN

    tensor: str
    reader: str = ""
    axis: Index
    size: Annotated[int, Field(ge=1)]
    removed: tuple[Index, ...]


class ColumnsCut(BaseModel):
    """The columns of one layer that were removed from all its filters.

    Attributes:
        layer: Name of the node.
        shape: ``[channels, *kernel]`` in the file; columns are numbered in it in row-major order.
        removed: Numbers of the removed columns, ascending, without those of removed channels.
    """

    model_config = _FROZEN

    layer: str
    shape: tuple[Index, ...]
    removed: tuple[Index, ...]


class LayerForm(BaseModel):
    """The compact form of a layer with removed columns.

    Attributes:
        layer: Name of the node in the file.
        form: ``crop``, ``channels``, ``gather`` or ``split``.
        variant: The variant of the form; empty if there is only one.
    """

    model_config = _FROZEN

    layer: str
    form: str
    variant: str = ""

    @property
    def label(self) -> str:
        """Form and variant as one label, as in ``Candidate``."""
        return f"{self.form}:{self.variant}" if self.variant else self.form


class CutPlan(BaseModel):
    """The cut of a model, in terms of the original file.

    Attributes:
        schema_number: Version of this format.
        version: Version of acgraph that made the cut; empty for a plan written by hand.
        source_sha256: Hash of the original file; empty if it is not to be compared.
        axes: The removed indices, with an entry for each tensor and axis.
        columns: The removed columns, with an entry for each layer.
        forms: The forms of layers with removed columns, with BatchNormalization folded into the
            preceding layers; None if the model was only shrunk.
        branches: The cuts of branches of If nodes, by paths such as ``If_0/then``. Tensors and
            layers in them have their own names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_number: Annotated[Literal[1], Field(alias="schema")] = 1
    version: str = ""
    source_sha256: str = ""
    axes: tuple[AxisCut, ...] = ()
    columns: tuple[ColumnsCut, ...] = ()
    forms: tuple[LayerForm, ...] | None = None
    branches: dict[str, "CutPlan"] = Field(default_factory=dict)

    @property
    def cuts_nothing(self) -> bool:
        """Whether the plan does not change a model, including its branches."""
        rest = all(inner.cuts_nothing for inner in self.branches.values())
        return rest and not self.axes and not self.columns and self.forms is None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a plan from a file.

        Raises:
            UsageError: The file cannot be read, or is not a plan.
        """
        where = Location(model=os.fspath(path))
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"), where)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(f"cannot be read: {reason}", location=where) from error

    @classmethod
    def from_json(cls, text: str, where: Location | None = None) -> Self:
        """Read a plan from JSON.

        Raises:
            UsageError: The text is not a plan.
        """
        try:
            return cls.model_validate_json(text)
        except pydantic.ValidationError as error:
            raise _no_plan(error, where) from error

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Read a plan from JSON values, as :meth:`as_json` returns them.

        Raises:
            UsageError: They are not a plan.
        """
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise _no_plan(error, None) from error

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return self.model_dump(mode="json", by_alias=True)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to a file."""
        Path(path).write_text(json.dumps(self.as_json(), indent=1) + "\n", encoding="utf-8")

    def __repr__(self) -> str:
        removed = sum(len(cut.removed) for cut in self.columns)
        tensors = len({(cut.tensor, cut.reader) for cut in self.axes})
        return f"CutPlan({counted(tensors, 'tensor')} cut, {counted(removed, 'column')} removed)"


def _no_plan(error: pydantic.ValidationError, where: Location | None) -> UsageError:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return UsageError(
        f"is not a plan: {place + ': ' if place else ''}{first['msg']}",
        location=where or Location(model="the plan"),
        hint="acgraph prune --format json and the folder of acgraph compress have one",
    )


def axis_cuts(
    kept: Mapping[str, Mapping[int, Ints]],
    shapes: Mapping[str, tuple[int, ...]],
    copies: Mapping[str, str],
) -> tuple[AxisCut, ...]:
    """List the removed indices of every constant.

    Args:
        kept: The kept indices, by constant and axis.
        shapes: Shapes of the constants before the cut.
        copies: Names of the constants that untying created, ``ORIGIN/READER``, with their origins.
    """
    found = []
    for name, axes in kept.items():
        if name not in shapes:
            continue
        origin = copies.get(name, name)
        for axis, positions in axes.items():
            size = shapes[name][axis]
            removed = np.setdiff1d(np.arange(size), positions)
            if removed.size:
                found.append(
                    AxisCut(
                        tensor=origin,
                        reader=name.removeprefix(f"{origin}/") if name in copies else "",
                        axis=axis,
                        size=size,
                        removed=tuple(removed.tolist()),
                    )
                )
    return tuple(sorted(found, key=lambda cut: (cut.tensor, cut.reader, cut.axis)))
