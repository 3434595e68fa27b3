"""Errors that libraries raise on damaged or hostile files, turned into one line for the user."""

import contextlib
from collections.abc import Iterator

import onnx
import onnx.checker
from google.protobuf.message import DecodeError

from acgraph.diagnostics import Location, on_one_line
from acgraph.errors import ImportModelError
from acgraph.ir.files import not_onnx

_CHECK = "check the file, or export it again"


@contextlib.contextmanager
def importing(where: Location) -> Iterator[None]:
    """Turn the errors of libraries while a model is read into an ``ImportModelError``.

    Args:
        where: The model.

    Raises:
        ImportModelError: A library rejected the model.
    """
    try:
        yield
    except DecodeError as error:
        raise not_onnx(where.model) from error
    except onnx.checker.ValidationError as error:
        raise ImportModelError(
            f"not a valid ONNX model: {on_one_line(error).rstrip('.')}",
            location=where,
            hint="export it again",
        ) from error
    except UnicodeDecodeError as error:
        raise ImportModelError(
            f"a name or a text in it is not UTF-8: {error.object[:40]!r}",
            location=where,
            hint="export it again with names in UTF-8",
        ) from error
    except RecursionError as error:
        raise ImportModelError(
            "its graphs are nested too deeply", location=where, hint=_CHECK
        ) from error
    except MemoryError as error:
        raise ImportModelError(
            f"there is not enough memory to read it: {on_one_line(error) or 'no details'}",
            location=where,
            hint=_CHECK,
        ) from error
    except _LIBRARY_ERRORS as error:
        raise ImportModelError(
            f"cannot be read: {on_one_line(error).rstrip('.') or type(error).__name__}",
            location=where,
            hint=_CHECK,
        ) from error


#: What onnx, onnx-graphsurgeon and numpy raise on invalid values: RuntimeError comes from C++.
_LIBRARY_ERRORS = (
    OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, RuntimeError,
    onnx.shape_inference.InferenceError,
)  # fmt: skip
