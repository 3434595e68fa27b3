"""Preprocessing of images: the user's options, completed from the data and the network's input."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from acgraph.data import checks
from acgraph.data.batch import Array
from acgraph.data.checks import InputSpec
from acgraph.data.dataset import Layout
from acgraph.data.pixels import DEFAULT_SCALE, Pixels
from acgraph.diagnostics import Location
from acgraph.errors import DataError

Stated = float | Sequence[float] | None
#: Possible numbers of channels of an image.
_CHANNELS = (1, 3, 4)


class Preprocessing:
    """Preprocessing of one input.

    Attributes:
        target: The input of the network.
        where: The location that messages name.
        layout: Layout of the image input.
        is_stated: Whether the user set mean, std or scale.
    """

    def __init__(
        self,
        target: InputSpec,
        mean: Stated,
        std: Stated,
        scale: float | None,
        layout: Literal["NCHW", "NHWC"] | None,
        where: Location,
    ) -> None:
        """Store the options of the user; None stands for an option that was not given.

        Args:
            target: The input of the network.
            mean: Mean of ``pixel * scale``, one value or one for each channel.
            std: Standard deviation of ``pixel * scale``, likewise.
            scale: Factor that pixels are multiplied by first.
            layout: Layout of the image input; by default derived from its shape.
            where: The location that messages name.
        """
        self.target = target
        self.where = where
        self.layout: Layout = layout or layout_of(target.shape)
        self.is_stated = not (mean is None and std is None and scale is None)
        self._mean: Stated | Array = mean
        self._std: Stated | Array = std
        self._scale = scale

    def refuse(self, what: str) -> None:
        """Reject preprocessing of data that is not preprocessed.

        Args:
            what: Why it is not, as part of a sentence.

        Raises:
            DataError: The user set mean, std or scale.
        """
        if self.is_stated:
            raise DataError(
                f"mean, std or scale is given, but {what} and is not preprocessed",
                location=self.where,
                hint="omit them, or give uint8 images",
            )

    def fill(self, mean: Array | None, std: Array | None) -> None:
        """Use mean and std of the data where the user set none."""
        self._mean = mean if self._mean is None else self._mean
        self._std = std if self._std is None else self._std

    def axes(self) -> tuple[int | str | None, int | str | None, int | str | None]:
        """Return the sizes of channels, height and width of the network's input.

        Raises:
            DataError: The input is not an image.
        """
        shape = self.target.shape
        if len(shape) != 4 or not self.layout:
            raise DataError(
                f"images are given, but input '{self.target.name}' of the model takes "
                f"{checks.format_shape(shape)}",
                location=self.where,
                hint="give floats, exactly what the network takes",
            )
        if self.layout == "NCHW":
            return shape[1], shape[2], shape[3]
        return shape[3], shape[1], shape[2]

    def pixels(self, channels: int) -> Pixels:
        """Make the normalisation of images with this number of channels.

        Raises:
            DataError: Mean or std is missing, or a value is invalid.
        """
        if self._scale is None and (self._mean is None or self._std is None):
            missing = "mean" if self._mean is None else "std"
            raise DataError(
                f"images need a {missing} for the preprocessing",
                location=self.where,
                hint="give mean and std of the pixels in 0..1, or a scale of 1 if the network "
                "expects 0..255",
            )
        std = self._per_channel("std", self._std, 1.0, channels)
        if min(std) <= 0 or (self._scale is not None and self._scale <= 0):
            raise DataError(
                "std and scale must be positive",
                location=self.where,
                hint="correct the preprocessing",
            )
        return Pixels(
            mean=self._per_channel("mean", self._mean, 0.0, channels),
            std=std,
            scale=DEFAULT_SCALE if self._scale is None else self._scale,
            layout="NHWC" if self.layout == "NHWC" else "NCHW",
        )

    def _per_channel(
        self, what: str, value: Stated | Array, default: float, channels: int
    ) -> tuple[float, ...]:
        numbers = np.atleast_1d(np.asarray(default if value is None else value, np.float64)).ravel()
        if len(numbers) == 1:
            numbers = np.repeat(numbers, channels)
        is_complete = len(numbers) == channels
        if not is_complete or not np.isfinite(numbers).all():
            raise DataError(
                f"{what} has a value that is not finite"
                if is_complete
                else f"{what} has {len(numbers)} values for {channels} channels",
                location=self.where,
                hint="give one finite number for each channel, or one for all channels",
            )
        return tuple(float(number) for number in numbers)


def layout_of(shape: Sequence[int | str | None]) -> Layout:
    """Derive the layout of images from the shape of an input; empty if it is not an image."""
    if len(shape) != 4:
        return ""
    return "NHWC" if shape[3] in _CHANNELS and shape[1] not in _CHANNELS else "NCHW"
