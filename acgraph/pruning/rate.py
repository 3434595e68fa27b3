"""Compression rates: size before / size after, at least 1, written ``30x``."""

import math
import re
from dataclasses import dataclass
from typing import Self

from acgraph.errors import UsageError

MAX_RATE = 1e6
"""Higher rates are rejected as mistakes: no network shrinks a million times."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True, order=True)
class Rate:
    """Size before / size after.

    >>> str(Rate.parse("30x")), Rate(4.0).sparsity
    ('30x', 0.75)

    Attributes:
        value: Between 1 (nothing removed) and ``MAX_RATE``.

    Raises:
        UsageError: ``value`` is outside of this range or not a number.
    """

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise UsageError(f"a rate must be a finite number, not {self.value}")
        if self.value < 1.0:
            raise UsageError(
                f"a rate is before / after and at least 1, not {self.value:g}",
                hint="2x keeps one half",
            )
        if self.value > MAX_RATE:
            raise UsageError(f"a rate of {self.value:g} is above the limit of {MAX_RATE:,.0f}x")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``30x``, ``2.5x`` or ``30``.

        Raises:
            UsageError: The text is not a rate.
        """
        number = text.strip().lower().removesuffix("x").rstrip()
        if not _NUMBER.fullmatch(number):
            raise UsageError(
                f"'{text}' is not a rate", hint="give a number of at least 1, such as 30x"
            )
        return cls(float(number))

    @classmethod
    def from_sparsity(cls, sparsity: float) -> Self:
        """The rate that removes this share of the whole: ``1 / (1 - sparsity)``.

        Raises:
            UsageError: The share is not in [0, 1).
        """
        if not 0.0 <= sparsity < 1.0:
            raise UsageError(
                f"a sparsity is the removed share, from 0 to below 1, not {sparsity:g}"
            )
        return cls(1.0 / (1.0 - sparsity))

    @classmethod
    def between(cls, before: float, after: float) -> Self:
        """The rate from one size to another, both positive; growth is not a rate.

        Raises:
            UsageError: ``after`` is not positive, or is above ``before``.
        """
        if after <= 0.0:
            raise UsageError(f"no rate leads from {before:g} to {after:g}")
        return cls(before / after)

    @property
    def sparsity(self) -> float:
        """The removed share, in [0, 1): ``1 - 1 / rate``."""
        return 1.0 - self.kept

    @property
    def kept(self) -> float:
        """The kept share, in (0, 1]: ``1 / rate``."""
        return 1.0 / self.value

    def __str__(self) -> str:
        return format_rate(self.value)


def format_rate(rate: float) -> str:
    """Format a rate, rounded down so that 7.999 is not shown as 8, nor 0.999 as 1.

    >>> format_rate(30.0), format_rate(7.999), format_rate(0.999), format_rate(0.00123)
    ('30x', '7.99x', '0.99x', '0.0012x')
    """
    digits = 1 if rate >= 10 else 2
    if 0 < rate < 0.1:
        digits = 1 - math.floor(math.log10(rate))
    # Correct the rounding error of binary fractions before rounding down.
    floored = math.floor(round(rate * 10**digits, 6)) / 10**digits
    return f"{floored:.{digits}f}".rstrip("0").rstrip(".") + "x"
