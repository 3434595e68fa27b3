"""Normalisation of uint8 images."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

#: Default factor that pixels are multiplied by first: 0..255 becomes 0..1.
DEFAULT_SCALE = 1 / 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """Normalisation ``(pixel * scale - mean) / std`` of each channel.

    Attributes:
        mean: Mean of ``pixel * scale`` for each channel.
        std: Standard deviation of ``pixel * scale`` for each channel; positive.
        scale: Factor that pixels are multiplied by first; 1 for networks that expect 0..255.
        layout: Layout of the network's image input.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = DEFAULT_SCALE
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def apply(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Normalise uint8 ``[n, H, W, C]`` to float32 in the network's layout.

        >>> Pixels(mean=(0.5,), std=(0.5,)).apply(np.array([[[[0], [255]]]], np.uint8)).tolist()
        [[[[-1.0, 1.0]]]]
        """
        n, height, width, channels = images.shape
        is_first = self.layout == "NCHW"
        shape = (n, channels, height, width) if is_first else (n, height, width, channels)
        out = np.empty(shape, np.float32)
        for c, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            plane = out[:, c] if is_first else out[..., c]
            np.multiply(images[..., c], np.float32(self.scale / std), out=plane)
            plane -= np.float32(mean / std)
        return out
