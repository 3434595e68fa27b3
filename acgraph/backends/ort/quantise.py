"""Quantise a written model to 8-bit integers with ONNX Runtime's own quantiser.

Weights become int8, with a scale for each filter where the quantiser has one, activations uint8:
of the pairs that ONNX Runtime has kernels for, the one that is fast on x86, too. Processors
without VNNI or its like saturate sums of such products, ARM does not; what a host makes of it is
measured, never assumed.
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
from acgraph.diagnostics import Location
from acgraph.errors import BackendError
from acgraph.ir import Array, read_proto, write_proto

_log = logging.getLogger(__name__)

_PathLike = str | os.PathLike[str]


def quantise_static(
    source: _PathLike, target: _PathLike, feeds: Iterable[Mapping[str, Array]]
) -> None:
    """Quantise weights and activations, whose ranges are those that examples have.

    The result holds QuantizeLinear and DequantizeLinear around the operators of the model, which
    runtimes fuse; it appears whole or not at all.

    Args:
        source: The ONNX file.
        target: What to write.
        feeds: Inputs by name, exactly as the model takes them.

    Raises:
        BackendError: the quantiser cannot, or ONNX Runtime refuses what it made.
        OutputError: the result cannot be written.
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
    """Quantise weights; activations are when the model runs, each by the range that it then has.

    No data is needed. As a rule that is slower than static quantisation.

    Args:
        source: The ONNX file.
        target: What to write, whole or not at all.

    Raises:
        BackendError: the quantiser cannot, or ONNX Runtime refuses what it made.
        OutputError: the result cannot be written.
    """

    def quantise(tool: Any, plain: Path, made: Path) -> None:
        tool.quantize_dynamic(str(plain), str(made), weight_type=tool.QuantType.QInt8)

    _quantised(source, target, quantise)


def _quantised(
    source: _PathLike, target: _PathLike, quantise: Callable[[Any, Path, Path], None]
) -> None:
    """Prepare a copy of the model as the quantiser wants it, quantise it, load it, write it."""
    where = Location(model=os.fspath(source))
    with tempfile.TemporaryDirectory(prefix="acgraph-int8-") as folder, _quiet():
        tool = _tool("onnxruntime.quantization", where)
        preparation = _tool("onnxruntime.quantization.shape_inference", where)
        plain, made = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        try:
            preparation.quant_pre_process(str(source), str(plain), skip_symbolic_shape=True)
            quantise(tool, plain, made)
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise BackendError(
                f"ONNX Runtime cannot quantise it: {text or type(error).__name__}", location=where
            ) from error
        try:
            Session(made)
        except BackendError as error:
            raise BackendError(
                "ONNX Runtime does not load what it quantised: " + error.diagnostic.message,
                location=where,
            ) from error
        write_proto(read_proto(made), target)


def _tool(name: str, where: Location) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendError(
            f"cannot be quantised here: {error}", location=where, hint="install what is missing"
        ) from error


def _reader(tool: Any, feeds: Iterable[Mapping[str, Array]]) -> Any:
    """Make what the quantiser takes examples from: an object of a class of its own."""

    def get_next(self: Any) -> dict[str, Array] | None:
        found = next(self.feeds, None)
        return None if found is None else dict(found)

    reader = type("Reader", (tool.CalibrationDataReader,), {"get_next": get_next})()
    reader.feeds = iter(feeds)
    return reader


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the tools print and tell the root logger, for which they would set up handlers."""
    root, said = logging.getLogger(), io.StringIO()
    handlers = list(root.handlers)
    root.handlers[:] = [logging.StreamHandler(said)]
    try:
        with contextlib.redirect_stdout(said):
            yield
    finally:
        root.handlers[:] = handlers
        _log.debug("%s", said.getvalue().strip())
