"""Metadata of a written model: entries of ``metadata_props`` under ``pkg.acgraph.``.

They contain no time and no path, so that the same cut of the same file writes the same bytes.
"""

from acgraph.ir import Model
from acgraph.pruning.rate import MAX_RATE, format_rate
from acgraph.version import __version__

#: Prefix of every key.
PREFIX = "pkg.acgraph."


def describe(model: Model, *, source: str, rate: float, error: float) -> None:
    """Record in a model's metadata, in place, how it was made; other entries are kept.

    Args:
        model: The model to be written.
        source: SHA-256 of the file that it was made from.
        rate: Params before / after.
        error: Largest relative error of the equivalence check; infinite if outputs are not
            comparable.
    """
    _put(model, source, f"params {format_rate(rate)}", f"{error:.1e}")


def reserve(model: Model) -> None:
    """Add placeholder entries of the final length, to measure the size of an unfinished model."""
    _put(model, "0" * 64, f"params {format_rate(MAX_RATE + 0.99)}", f"{1e-300:.1e}")


def _put(model: Model, source: str, rate: str, error: str) -> None:
    entries = {
        "version": __version__,
        "source_sha256": source,
        "rate": rate,
        "largest_relative_error": error,
    }
    model.metadata.update({f"{PREFIX}{name}": value for name, value in entries.items()})
