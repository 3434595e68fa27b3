"""Inputs like those that the networks of the field were made for, without any data set.

Each generator takes a random generator and a shape, and returns one array of that shape.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Shape = tuple[int, ...]
Floats = np.ndarray
Generator = Callable[[np.random.Generator, Shape], np.ndarray]
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def picture(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Draw smooth light, some shapes with edges and a little grain: H, W, 3 in 0..1."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    image = np.full((height, width, 3), 0.5)
    for _ in range(6):
        direction, phase = rng.uniform(-6, 6, 2), rng.uniform(0, 6.3, 3)
        wave = np.cos((direction[0] * x + direction[1] * y)[..., None] * 2 + phase)
        image += rng.uniform(0.02, 0.12) * wave
    for _ in range(8):
        center, radius = rng.uniform(0, 1, 2), rng.uniform(0.05, 0.3, 2)
        inside = ((x - center[0]) / radius[0]) ** 2 + ((y - center[1]) / radius[1]) ** 2 < 1
        image[inside] = 0.3 * image[inside] + 0.7 * rng.uniform(0, 1, 3)
    return np.clip(image + rng.normal(0, 0.02, image.shape), 0, 1)


def text_picture(rng: np.random.Generator, height: int, width: int, lines: int) -> Floats:
    """Write lines of dark letters on a light ground: H, W, 3 in 0..1."""
    ground = tuple(int(v) for v in rng.integers(180, 256, 3))
    image = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(image)
    step = height / lines
    font = ImageFont.load_default(max(6, int(step * 0.7)))
    for line in range(lines):
        word = "".join(rng.choice(list(_LETTERS), max(3, int(width / step / 0.6))))
        ink = tuple(int(v) for v in rng.integers(0, 100, 3))
        draw.text((rng.uniform(0, width * 0.1), line * step), word, ink, font)
    return np.clip(np.asarray(image) / 255 + rng.normal(0, 0.01, (height, width, 3)), 0, 1)


def images(
    *, layout: str = "NCHW", low: float = 0.0, high: float = 1.0, text_lines: int = 0
) -> Generator:
    """Return a generator of images in [low, high]; of text where ``text_lines`` is above 0."""

    def generate(rng: np.random.Generator, shape: Shape) -> np.ndarray:
        axes = dict(zip(layout, shape, strict=True))
        made = [
            text_picture(rng, axes["H"], axes["W"], text_lines)
            if text_lines
            else picture(rng, axes["H"], axes["W"])
            for _ in range(axes["N"])
        ]
        batch = np.stack(made)
        if axes["C"] == 1:
            batch = batch.mean(-1, keepdims=True)
        batch = low + (high - low) * batch
        return np.ascontiguousarray(batch.transpose(["NHWC".index(a) for a in layout]), np.float32)

    return generate


def audio(rate: int = 16_000, scale: float = 1.0) -> Generator:
    """Return a generator of voiced sound: harmonics that glide, pauses, a little hiss."""

    def generate(rng: np.random.Generator, shape: Shape) -> np.ndarray:
        samples = int(np.prod(shape[1:]))
        rows = []
        for _ in range(shape[0]):
            time = np.arange(samples) / rate
            pitch = rng.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * rng.uniform(1, 4) * time))
            phase = 2 * np.pi * np.cumsum(pitch) / rate
            voice = sum(np.sin(k * phase) / k for k in range(1, 9))
            loud = np.clip(np.sin(2 * np.pi * rng.uniform(1, 3) * time + rng.uniform(0, 6)), 0, 1)
            rows.append(0.2 * loud * voice + rng.normal(0, 0.003, samples))
        return (scale * np.stack(rows)).reshape(shape).astype(np.float32)

    return generate


def brain_waves(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Return noise whose power falls with frequency along the last axis, of deviation 1."""
    spectrum = np.fft.rfft(rng.normal(0, 1, shape), axis=-1)
    spectrum /= np.sqrt(1 + np.arange(spectrum.shape[-1]))
    wave = np.fft.irfft(spectrum, shape[-1], axis=-1)
    return ((wave - wave.mean(-1, keepdims=True)) / wave.std(-1, keepdims=True)).astype(np.float32)


def features(low: float = -np.inf, high: float = np.inf, scale: float = 1.0) -> Generator:
    """Return a generator of normal features, clipped to [low, high]."""

    def generate(rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return np.clip(scale * rng.normal(0, 1, shape), low, high).astype(np.float32)

    return generate


def integers(low: int, high: int, dtype: str = "int64") -> Generator:
    """Return a generator of whole numbers from ``low`` to below ``high``: token ids."""

    def generate(rng: np.random.Generator, shape: Shape) -> np.ndarray:
        return rng.integers(low, high, shape).astype(dtype)

    return generate


def constant(value: float, dtype: str = "int64") -> Generator:
    """Return a generator of one value: a mask without gaps, a state at rest."""

    def generate(rng: np.random.Generator, shape: Shape) -> np.ndarray:
        del rng
        return np.full(shape, value, dtype)

    return generate


def file_bytes(dtype: str = "int32") -> Generator:
    """Return a generator of bytes of a source file, one stretch a row, 256 where none is left."""

    def generate(rng: np.random.Generator, shape: Shape) -> np.ndarray:
        source = np.frombuffer(Path(__file__).read_bytes(), np.uint8)
        rows = np.full(shape, 256, dtype)
        for row in rows:
            start = int(rng.integers(0, len(source) // 2))
            part = source[start : start + len(row)]
            row[: len(part)] = part
        return rows

    return generate
