"""Forms dense, crop and channels: one Conv over fewer kernel positions or fewer channels."""

import numpy as np

from acgraph.lowering.base import DENSE, Draft
from acgraph.lowering.layer import ConvLayer
from acgraph.lowering.regions import Lattice, Region, region_conv


def dense(layer: ConvLayer) -> list[Draft]:
    """Return the layer unchanged, with explicit pads."""
    builder = layer.builder()
    everything = Region(
        np.arange(layer.kept.shape[0]),
        Lattice((0,) * layer.rank, layer.kernel, (1,) * layer.rank),
    )
    region_conv(builder, layer, everything, prefix=DENSE)
    return [Draft(DENSE, "", builder.finish(), layer.columns)]


def crop(layer: ConvLayer) -> list[Draft]:
    """Drop the kernel positions outside (or evenly between) the used ones, and unused channels.

    A 3x3 kernel that only uses its first row becomes 1x3 with other pads; one that only uses its
    corners becomes 2x2 with twice the dilation. Grouped convolutions keep all input channels.
    """
    lattice = Lattice.around(layer.positions)
    everything = np.arange(layer.kept.shape[0])
    drafts = []
    if lattice.volume < np.prod(layer.kernel):
        drafts.append(_one(layer, "crop", "", Region(everything, lattice)))
    channels = layer.channels_kept
    if layer.group == 1 and channels.size < everything.size:
        is_cropped = bool(drafts)
        form, variant = ("crop", "channels") if is_cropped else ("channels", "")
        drafts.append(_one(layer, form, variant, Region(channels, lattice)))
    return drafts


def _one(layer: ConvLayer, form: str, variant: str, region: Region) -> Draft:
    builder = layer.builder()
    region_conv(builder, layer, region, prefix=form)
    return Draft(form, variant, builder.finish(), region.columns)
