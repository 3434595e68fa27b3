"""Form split: a sum of small convolutions, each over some channels and some kernel positions.

ONNX Runtime fuses ``Conv + Add (+ Relu)``, so the sums cost little. The form is fast where columns
are regular: where groups of channels use different parts of the kernel (variant ``supports``), or
where every kernel row (or column, or slice) uses few channels (``axis``).
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from acgraph.lowering.base import Draft
from acgraph.lowering.layer import ConvLayer
from acgraph.lowering.regions import Lattice, Region, region_conv

#: More groups of channels than this are not clustered: they have no common pattern.
MAX_GROUPS = 24
#: Largest share of the columns of one cropped Conv that a sum of convolutions may store.
MIN_GAIN = 0.9


def split(layer: ConvLayer) -> list[Draft]:
    """Return the sums that store clearly fewer columns than one cropped Conv."""
    if layer.group != 1 or len(layer.positions) < 2:
        return []
    whole = Lattice.around(layer.positions).volume * layer.channels_kept.size
    drafts = []
    for variant, regions in _divisions(layer):
        columns = sum(region.columns for region in regions)
        if len(regions) > 1 and columns <= MIN_GAIN * whole:
            drafts.append(_sum(layer, variant, regions, columns))
    return drafts


def _sum(layer: ConvLayer, variant: str, regions: Sequence[Region], columns: int) -> Draft:
    builder = layer.builder()
    total = ""
    for number, region in enumerate(regions):
        prefix = f"split.{number}"
        is_first = number == 0
        part = region_conv(builder, layer, region, prefix=prefix, with_bias=is_first)
        shape = builder.shape(part)
        total = part if is_first else builder.add("Add", f"{prefix}.add", [part, total], {}, shape)
    return Draft("split", variant, builder.finish(), columns)


def _divisions(layer: ConvLayer) -> Iterator[tuple[str, list[Region]]]:
    for axis in range(layer.rank):
        yield f"axis{axis}", _along(layer, axis)
    groups = _by_support(layer)
    for count in (3, 2):
        if 1 < len(groups) <= MAX_GROUPS:
            groups = _cluster(groups, count)
            yield f"supports{count}", groups


def _region(layer: ConvLayer, positions: list[tuple[int, ...]]) -> Region:
    return Region(layer.channels_over(positions), Lattice.around(positions))


def _along(layer: ConvLayer, axis: int) -> list[Region]:
    """Return one region for every kernel index of an axis."""
    indices = sorted({position[axis] for position in layer.positions})
    return [_region(layer, [p for p in layer.positions if p[axis] == i]) for i in indices]


def _by_support(layer: ConvLayer) -> list[Region]:
    """Group the channels by the lattice around the kernel positions that they use."""
    groups: dict[Lattice, list[int]] = {}
    for channel in layer.channels_kept.tolist():
        positions = [tuple(row) for row in np.argwhere(layer.kept[channel]).tolist()]
        groups.setdefault(Lattice.around(positions), []).append(channel)
    return [Region(np.array(channels), lattice) for lattice, channels in groups.items()]


def _cluster(groups: list[Region], count: int) -> list[Region]:
    """Merge the two groups with the least increase of columns until ``count`` are left."""
    groups = list(groups)
    while len(groups) > count:
        pairs = [(i, j) for j in range(len(groups)) for i in range(j)]
        i, j = min(pairs, key=lambda pair: _increase(groups[pair[0]], groups[pair[1]]))
        channels = np.sort(np.concatenate([groups[i].channels, groups[j].channels]))
        merged = Region(channels, _join(groups[i].lattice, groups[j].lattice))
        groups = [*(g for number, g in enumerate(groups) if number not in (i, j)), merged]
    return groups


def _increase(a: Region, b: Region) -> int:
    """Return how many more columns two groups store when merged."""
    channels = int(a.channels.size + b.channels.size)
    return channels * _join(a.lattice, b.lattice).volume - a.columns - b.columns


@functools.lru_cache(maxsize=1 << 14)
def _join(a: Lattice, b: Lattice) -> Lattice:
    return a.join(b)
