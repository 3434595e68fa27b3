"""Write files for ONNX Runtime on phones (``.ort`` format, operator list), and check usability."""

import contextlib
import importlib
import io
import logging
import mmap
import os
import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import onnxruntime as ort

from acgraph.backends.ort.ort_order import UnknownContentError, in_order
from acgraph.backends.ort.session import QUIET
from acgraph.diagnostics import Location, on_one_line
from acgraph.errors import BackendError
from acgraph.ir import read_proto, require_file, write_bytes, write_proto

_log = logging.getLogger(__name__)

#: Suffix of the operator list, for ``--include_ops_by_config`` of a custom minimal build.
CONFIG_SUFFIX = ".required_operators_and_types.config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usability:
    """The result of ONNX Runtime's mobile usability checker.

    Attributes:
        verdicts: Whether the model can run well on an execution provider: YES, MAYBE or NO, by the
            name of the provider.
        verdicts_fixed: The same if dynamic input sizes were fixed; a provider is absent if this
            makes no difference.
        text: Complete output of the checker.
    """

    verdicts: dict[str, str]
    verdicts_fixed: dict[str, str]
    text: str


def write_ort(onnx_path: str | os.PathLike[str], ort_path: str | os.PathLike[str]) -> Path:
    """Convert an ONNX file to ORT format, fully optimised for the CPU of a phone.

    Both files are written atomically. Equal models of one version of ONNX Runtime give equal bytes.

    Args:
        onnx_path: The ONNX file.
        ort_path: The file to write, with the suffix ``.ort``.

    Returns:
        Path of the operator list, in the same folder.

    Raises:
        ImportModelError: The ONNX file does not exist.
        BackendError: ONNX Runtime cannot convert it.
        OutputError: The result cannot be written.
    """
    source, target = Path(onnx_path), Path(ort_path)
    require_file(onnx_path)
    config = target.with_suffix(CONFIG_SUFFIX)
    with tempfile.TemporaryDirectory(prefix="acgraph-ort-") as folder:
        made = Path(folder) / "out"
        _convert(_with_suffix(source, Path(folder)), made, source)
        operators = next(made.glob("*.config")).read_text(encoding="utf-8").splitlines()
        # The first two lines of the list contain the temporary path.
        kept = [f"# Generated from {target.name}", *operators[2:]]
        _write_in_order(next(made.glob("*.ort")), target)
        write_bytes(("\n".join(kept) + "\n").encode(), config)
    return config


def check_usability(path: str | os.PathLike[str]) -> Usability:
    """Run ONNX Runtime's mobile usability checker, for NNAPI and CoreML, on an ONNX file.

    Raises:
        ImportModelError: The file does not exist.
        BackendError: The checker fails.
    """
    source = Path(path)
    require_file(path)
    printed = io.StringIO()
    handler = logging.StreamHandler(printed)
    logger = logging.Logger("acgraph.usability", logging.INFO)
    logger.addHandler(handler)
    checker = _tool("mobile_helpers.usability_checker")
    try:
        with contextlib.redirect_stdout(printed):
            checker.analyze_model(source.resolve(), logger=logger)
    except Exception as error:
        text = on_one_line(error)
        raise BackendError(
            f"ONNX Runtime's usability checker failed: {text}", location=Location(model=str(source))
        ) from error
    text = printed.getvalue()
    return Usability(
        verdicts=dict(re.findall(r"perform well with (.+) as is: (\w+)", text)),
        verdicts_fixed=dict(
            re.findall(r"perform well with (.+) if modified to have fixed .*: (\w+)", text)
        ),
        text=text.replace(str(source.resolve()), str(source)),
    )


def _write_in_order(made: Path, target: Path) -> None:
    """Write the converter's file in an order that does not change from one process to the next."""
    with (
        made.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as content,
    ):
        try:
            parts = in_order(content)
        except UnknownContentError as error:
            _log.info("%s keeps the order of ONNX Runtime, which may vary: %s", target.name, error)
            parts = [content]
        try:
            write_bytes(parts, target)
        finally:  # the mapping can only be closed after all views of it
            for part in parts:
                if isinstance(part, memoryview):
                    part.release()


def _with_suffix(source: Path, folder: Path) -> Path:
    """Return a file with the suffix that the converter requires, after it has resolved links."""
    name = source.resolve().name.lower()
    if name.endswith(".onnx") and not name.endswith(".optimized.onnx"):
        return source
    path = folder / "model.onnx"
    write_proto(read_proto(source), path)
    return path


def _tool(name: str) -> ModuleType:
    """Import one of ONNX Runtime's tools, and undo its changes to the root logger."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    try:
        tool = importlib.import_module(f"onnxruntime.tools.{name}")
    finally:
        root.handlers[:] = handlers
    logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)
    ort.set_default_logger_severity(QUIET)
    return tool


def _convert(model: Path, folder: Path, source: Path) -> None:
    printed = io.StringIO()
    converter = _tool("convert_onnx_models_to_ort")
    try:
        # The converter prints to stdout, which is for results only, and does not close a file.
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            converter.convert_onnx_models_to_ort(
                model,
                output_dir=folder,
                optimization_styles=[converter.OptimizationStyle.Fixed],
                enable_type_reduction=True,
            )
    except Exception as error:
        text = on_one_line(error)
        raise BackendError(
            f"ONNX Runtime cannot convert the model to .ort: {text}",
            location=Location(model=str(source)),
        ) from error
    finally:
        _log.debug("%s", printed.getvalue().strip())
