"""Quantise a model file to 8-bit integers with ONNX Runtime's quantiser.

Weights become int8, with one scale per filter where the quantiser supports it, and activations
uint8. Of the combinations for which ONNX Runtime has kernels, this one is also fast on x86. On x86
processors without VNNI, intermediate sums of these products can saturate, which they do not on ARM.
Therefore the accuracy of a quantised model is always measured.
"""

import contextlib
import importlib
import io
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from acgraph.backends.ort.session import Session
from acgraph.diagnostics import Location, on_one_line
from acgraph.errors import BackendError
from acgraph.ir import Array, read_proto, write_proto

_log = logging.getLogger(__name__)

_PathLike = str | os.PathLike[str]


def quantise_static(
    source: _PathLike, target: _PathLike, feeds: Iterable[Mapping[str, Array]]
) -> None:
    """Quantise weights and activations, with ranges of activations from calibration data.

    The result has QuantizeLinear and DequantizeLinear around the operators, which runtimes fuse.

    Args:
        source: The ONNX file.
        target: The file to write, atomically.
        feeds: Calibration inputs by name, in the types of the model's inputs.

    Raises:
        BackendError: The quantiser fails, or ONNX Runtime cannot load its result.
        OutputError: The result cannot be written.
    """

    def quantise(tool: Any, plain: Path, made: Path) -> None:
        tool.quantize_static(
            str(plain),
            str(made),
            _reader(tool, feeds),
            quant_format=tool.QuantFormat.QDQ,
            per_channel=True,
            activation_type=tool.QuantType.QUInt8,
            weight_type=tool.QuantType.QInt8,
        )

    _quantised(source, target, quantise)


def quantise_dynamic(source: _PathLike, target: _PathLike) -> None:
    """Quantise weights; activations are quantised at run time by their current range.

    This needs no data, and is usually slower than static quantisation.

    Args:
        source: The ONNX file.
        target: The file to write, atomically.

    Raises:
        BackendError: The quantiser fails, or ONNX Runtime cannot load its result.
        OutputError: The result cannot be written.
    """

    def quantise(tool: Any, plain: Path, made: Path) -> None:
        tool.quantize_dynamic(str(plain), str(made), weight_type=tool.QuantType.QInt8)

    _quantised(source, target, quantise)


def _quantised(
    source: _PathLike, target: _PathLike, quantise: Callable[[Any, Path, Path], None]
) -> None:
    """Preprocess a copy of the model, quantise it, check that it loads, and write it."""
    where = Location(model=os.fspath(source))
    with tempfile.TemporaryDirectory(prefix="acgraph-int8-") as folder, _quiet():
        tool = _tool("onnxruntime.quantization", where)
        preparation = _tool("onnxruntime.quantization.shape_inference", where)
        plain, made = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        try:
            preparation.quant_pre_process(str(source), str(plain), skip_symbolic_shape=True)
            quantise(tool, plain, made)
        except Exception as error:
            text = on_one_line(error)
            raise BackendError(
                f"ONNX Runtime cannot quantise the model: {text or type(error).__name__}",
                location=where,
            ) from error
        try:
            Session(made)
        except BackendError as error:
            raise BackendError(
                f"ONNX Runtime cannot load the quantised model: {error.diagnostic.message}",
                location=where,
            ) from error
        write_proto(read_proto(made), target)


def _tool(name: str, where: Location) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendError(
            f"ONNX Runtime's quantiser cannot be imported: {error}",
            location=where,
            hint="install the missing package",
        ) from error


def _reader(tool: Any, feeds: Iterable[Mapping[str, Array]]) -> Any:
    """Make a ``CalibrationDataReader``, from which the quantiser reads its calibration data."""

    def get_next(self: Any) -> dict[str, Array] | None:
        found = next(self.feeds, None)
        return None if found is None else dict(found)

    reader = type("Reader", (tool.CalibrationDataReader,), {"get_next": get_next})()
    reader.feeds = iter(feeds)
    return reader


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Redirect the output of the tools to the debug log, and undo changes to the root logger."""
    root, printed = logging.getLogger(), io.StringIO()
    handlers = list(root.handlers)
    root.handlers[:] = [logging.StreamHandler(printed)]
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        root.handlers[:] = handlers
        _log.debug("%s", printed.getvalue().strip())
