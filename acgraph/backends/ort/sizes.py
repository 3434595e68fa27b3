"""Resolve the input sizes of a model file that a session has loaded."""

import os
from collections.abc import Mapping
from pathlib import Path

from acgraph.backends.ort.session import Session
from acgraph.diagnostics import Location
from acgraph.ir import InputSizes, read_model, resolve_sizes
from acgraph.ir.model import Shape
from acgraph.ir.sizes import default_sizes, state


def file_sizes(
    path: str | os.PathLike[str], session: Session, stated: Mapping[str, Shape] | None = None
) -> InputSizes:
    """Choose the input sizes of a file as ``resolve_sizes`` does.

    The graph is read only if a size must be assumed. That of an .ort file cannot be read.

    Args:
        path: The file.
        session: A session of the same file.
        stated: Complete shapes that the user has given, by input.

    Raises:
        UsageError: A given shape contradicts the file.
    """
    is_graph = Path(path).suffix.lower() != ".ort"
    # ONNX Runtime reports an input without a shape like a scalar.
    if is_graph and not all(declared.shape for declared in session.declared):
        return resolve_sizes(read_model(path), stated)
    known = state(session.declared, stated, Location(model=session.source))
    if not known.assumed() or not is_graph:
        return default_sizes(known)
    return resolve_sizes(read_model(path), stated)
