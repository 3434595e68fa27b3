"""Resize and Upsample, as one small matrix for each resized axis.

Interpolation is separable: an axis is resized by a matrix ``[out, in]`` (or an index, for nearest),
which is computed once for each pair of sizes. ``F.interpolate`` is used where it is equivalent,
because it is faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView

Tensor = torch.Tensor
_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Rule:
    """The attributes that determine how output positions map to input positions."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    exclude_outside: bool
    extrapolation: float
    antialias: bool

    def positions(self, size: int, out: int, scale: float, roi: tuple[float, float]) -> _Floats:
        """Return the input coordinate of every output position, in float32 as in ONNX Runtime."""
        i = np.arange(out, dtype=np.float32)
        s, half = np.float32(scale), np.float32(0.5)
        match self.coordinates:
            case "half_pixel":
                return (i + half) / s - half
            case "pytorch_half_pixel":
                return (i + half) / s - half if out > 1 else np.zeros(1, np.float32)
            case "align_corners":
                return i * np.float32(size - 1) / np.float32(max(out - 1, 1))
            case "asymmetric":
                return i / s
            case "tf_half_pixel_for_nn":
                return (i + half) / s
            case "half_pixel_symmetric":
                adjustment = np.float32(out / (scale * size))
                offset = np.float32(size / 2) * (1 - adjustment)
                return np.asarray(offset + (i + half) / s - half, dtype=np.float32)
            case _:
                start, end = (np.float32(v) for v in roi)
                if out == 1:
                    return np.full(1, half * (start + end) * (size - 1), np.float32)
                step = (end - start) * np.float32(size - 1) / np.float32(out - 1)
                return np.asarray(start * np.float32(size - 1) + i * step, dtype=np.float32)

    def index(self, x: _Floats, size: int) -> npt.NDArray[np.int64]:
        """Round positions to input indices, by the attribute ``nearest_mode``."""
        match self.nearest:
            case "floor":
                rounded = np.floor(x)
            case "ceil":
                rounded = np.ceil(x)
            case "round_prefer_ceil":
                # ONNX Runtime treats positions within float32 rounding of a tie as ties (measured).
                rounded = np.floor(x + np.float32(0.5) + np.abs(x) * np.float32(2**-22))
            case _:
                rounded = np.ceil(x - np.float32(0.5))
        return np.clip(rounded, 0, size - 1).astype(np.int64)

    def matrix(self, x: _Floats, size: int, scale: float) -> _Floats:
        """Return the interpolation weights ``[out, in]`` at positions, for linear or cubic mode."""
        if self.antialias and scale < 1:
            return self._antialiased(x, size, scale)
        if self.mode == "linear":
            x = np.clip(x, 0, size - 1)
        floor = np.floor(x).astype(np.int64)
        out = np.zeros((len(x), size), np.float32)
        rows = np.arange(len(x))
        taps = (0, 1) if self.mode == "linear" else (-1, 0, 1, 2)
        for tap in taps:
            weight = self._filter(x - (floor + tap).astype(np.float32))
            column = floor + tap
            if self.exclude_outside:
                weight = np.where((column < 0) | (column >= size), 0, weight)
            np.add.at(out, (rows, np.clip(column, 0, size - 1)), weight)
        return out / out.sum(axis=1, keepdims=True) if self.exclude_outside else out

    def _antialiased(self, x: _Floats, size: int, scale: float) -> _Floats:
        reach = int(np.ceil((1 if self.mode == "linear" else 2) / scale)) + 1
        columns = np.arange(-reach, size + reach)
        weight = self._filter((columns.astype(np.float32) - x[:, None]) * np.float32(scale))
        if self.exclude_outside:
            weight = np.where((columns < 0) | (columns >= size), 0, weight)
        # Positions outside of the input use the element at the edge.
        edges = np.clip(columns, 0, size - 1)[:, None] == np.arange(size)[None, :]
        out = weight @ edges.astype(np.float32)
        return np.asarray(out / out.sum(axis=1, keepdims=True), dtype=np.float32)

    def _filter(self, distance: _Floats) -> _Floats:
        d, a = np.abs(distance), np.float32(self.cubic)
        if self.mode == "linear":
            return np.asarray(np.maximum(np.float32(0), 1 - d), dtype=np.float32)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0)).astype(np.float32)


def _rule(node: NodeView) -> _Rule:
    old = node.node.op == "Upsample" or node.opset < 11
    mode = node.text("mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        raise node.unsupported(f"Resize mode {mode}")
    return _Rule(
        mode=mode,
        coordinates="asymmetric"
        if old
        else node.text("coordinate_transformation_mode", "half_pixel"),
        nearest="floor" if old else node.text("nearest_mode", "round_prefer_floor"),
        cubic=node.real("cubic_coeff_a", -0.75),
        exclude_outside=bool(node.integer("exclude_outside", 0)),
        extrapolation=node.real("extrapolation_value", 0.0),
        antialias=bool(node.integer("antialias", 0)),
    )


def _resize(node: NodeView) -> Kernel:
    rule = _rule(node)
    if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.unsupported("keep_aspect_ratio_policy")
    old = node.node.op == "Upsample" or node.opset < 11
    scales_at = 1 if old else 2
    has_sizes = not old and node.has(3)
    scales = node.node.attrs.get("scales") if old else None
    known = node.value(scales_at)
    if known is not None and known.size:
        scales = known.tolist()
    sizes_of = node.ints_input(3) if has_sizes else None
    axes, keep = node.ints("axes"), node.batch
    roi_value = node.value(1) if not old else None
    roi = () if roi_value is None else tuple(float(v) for v in roi_value.reshape(-1).tolist())
    if rule.coordinates == "tf_crop_and_resize" and not roi:
        raise node.unsupported("a region of interest that is computed")
    tables: dict[tuple[int, int, int, float], Tensor] = {}

    def resize(x: Tensor, *rest: Tensor | None) -> Tensor:
        where = axes or tuple(range(x.ndim))
        if sizes_of is not None:
            out = list(sizes_of(rest[2]))
            for axis in keep or ():
                out[where.index(axis)] = x.shape[axis]
            pairs = [(o, o / x.shape[a]) for a, o in zip(where, out, strict=True)]
        else:
            given = scales
            if given is None:
                computed = rest[scales_at - 1]
                if computed is None:
                    raise ValueError("Resize has neither scales nor sizes")
                given = computed.tolist()
            pairs = [(int(x.shape[a] * s), float(s)) for a, s in zip(where, given, strict=True)]
        native = _native(x, where, pairs, rule, whole=sizes_of is not None)
        if native is not None:
            return native
        return _separable(x, where, pairs, rule, roi, tables)

    return resize


def _native(
    x: Tensor, where: Sequence[int], pairs: Sequence[tuple[int, float]], rule: _Rule, *, whole: bool
) -> Tensor | None:
    """Resize two spatial axes with ``F.interpolate``; None if it is not equivalent."""
    if x.ndim != 4 or rule.mode != "linear" or rule.antialias:
        return None
    sizes = list(x.shape)
    for axis, (out, scale) in zip(where, pairs, strict=True):
        exact = whole or scale * x.shape[axis] == out
        if not exact or (axis < 2 and out != x.shape[axis]):
            return None
        sizes[axis] = out
    if rule.coordinates in ("half_pixel", "pytorch_half_pixel") and min(sizes[2:]) > 1:
        return F.interpolate(x, sizes[2:], mode="bilinear", align_corners=False)
    if rule.coordinates == "align_corners":
        return F.interpolate(x, sizes[2:], mode="bilinear", align_corners=True)
    return None


def _separable(
    x: Tensor,
    where: Sequence[int],
    pairs: Sequence[tuple[int, float]],
    rule: _Rule,
    roi: tuple[float, ...],
    tables: dict[tuple[int, int, int, float], Tensor],
) -> Tensor:
    outside: list[tuple[int, npt.NDArray[np.bool_]]] = []
    for place, (axis, (out, scale)) in enumerate(zip(where, pairs, strict=True)):
        size = x.shape[axis]
        crop = rule.coordinates == "tf_crop_and_resize"
        if out == size and not crop and scale == 1.0:
            continue
        part = (roi[place], roi[len(where) + place]) if crop else (0.0, 1.0)
        positions = rule.positions(size, out, scale, part)
        if crop:
            outside.append((axis, (positions < 0) | (positions > size - 1)))
        key = (axis, size, out, scale)
        if key not in tables:
            found = (
                rule.index(positions, size)
                if rule.mode == "nearest"
                else rule.matrix(positions, size, scale)
            )
            tables[key] = torch.from_numpy(found)
        table = tables[key].to(x.device)
        if rule.mode == "nearest":
            x = x.index_select(axis, table)
        else:
            x = torch.matmul(x.movedim(axis, -1), table.to(x.dtype).t()).movedim(-1, axis)
    for axis, mask in outside:
        shape = [1] * x.ndim
        shape[axis] = len(mask)
        x = x.masked_fill(torch.from_numpy(mask).reshape(shape).to(x.device), rule.extrapolation)
    return x


TABLE: dict[str, Builder] = {"Resize": _resize, "Upsample": _resize}
