"""Files for ONNX Runtime on phones: the ``.ort`` format, its operator list, a usability check."""

import contextlib
import importlib
import io
import logging
import os
import re
import tempfile
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import onnxruntime as ort

from acgraph.backends.ort.session import QUIET
from acgraph.diagnostics import Location
from acgraph.errors import BackendError, ImportModelError
from acgraph.ir import read_proto, write_bytes, write_proto

_log = logging.getLogger(__name__)

#: Bytes that are copied at a time.
_CHUNK = 1 << 24
#: The name of the operator list ends like this; a custom minimal build takes it with
#: ``--include_ops_by_config``.
CONFIG_SUFFIX = ".required_operators_and_types.config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usability:
    """What ONNX Runtime's mobile usability checker says of a model, from its tables of operators.

    Attributes:
        verdicts: By execution provider, how well the model may run there as it is: YES, MAYBE, NO.
        verdicts_fixed: The same were its dynamic input sizes fixed; absent where none are, or
            where it makes no difference.
        text: All that the checker said.
    """

    verdicts: dict[str, str]
    verdicts_fixed: dict[str, str]
    text: str


def write_ort(onnx_path: str | os.PathLike[str], ort_path: str | os.PathLike[str]) -> Path:
    """Convert an ONNX file to ORT format, fully optimised for the CPU of a phone.

    Both files appear whole or not at all.

    Args:
        onnx_path: The ONNX file.
        ort_path: What to write, with the ending ``.ort``.

    Returns:
        The path of the operator list beside it.

    Raises:
        ImportModelError: there is no such file.
        BackendError: ONNX Runtime cannot convert it.
        OutputError: the result cannot be written.
    """
    source, target = Path(onnx_path), Path(ort_path)
    _check(source)
    config = target.with_suffix(CONFIG_SUFFIX)
    with tempfile.TemporaryDirectory(prefix="acgraph-ort-") as folder:
        made = Path(folder) / "out"
        _convert(_with_ending(source, Path(folder)), made, source)
        operators = next(made.glob("*.config")).read_text(encoding="utf-8").splitlines()
        # The list names its source by the temporary path.
        kept = [f"# Generated from {target.name}", *operators[2:]]
        with next(made.glob("*.ort")).open("rb") as file:
            write_bytes(iter(partial(file.read, _CHUNK), b""), target)
        write_bytes(("\n".join(kept) + "\n").encode(), config)
    return config


def check_usability(path: str | os.PathLike[str]) -> Usability:
    """Ask ONNX Runtime's checker how an ONNX file would do with NNAPI and CoreML.

    Raises:
        ImportModelError: there is no such file.
        BackendError: the checker fails on it.
    """
    source = Path(path)
    _check(source)
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logger = logging.Logger("acgraph.usability", logging.INFO)
    logger.addHandler(handler)
    checker = _tool("mobile_helpers.usability_checker")
    try:
        with contextlib.redirect_stdout(said):
            checker.analyze_model(source.resolve(), logger=logger)
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise BackendError(
            f"ONNX Runtime's usability checker fails: {text}", location=Location(model=str(source))
        ) from error
    text = said.getvalue()
    return Usability(
        verdicts=dict(re.findall(r"perform well with (.+) as is: (\w+)", text)),
        verdicts_fixed=dict(
            re.findall(r"perform well with (.+) if modified to have fixed .*: (\w+)", text)
        ),
        text=text.replace(str(source.resolve()), str(source)),
    )


def _check(path: Path) -> None:
    if not path.is_file():
        raise ImportModelError(
            "no such file", location=Location(model=str(path)), hint="check the path"
        )


def _with_ending(source: Path, folder: Path) -> Path:
    """Return a file that the converter takes: it goes by the ending, and through links."""
    name = source.resolve().name.lower()
    if name.endswith(".onnx") and not name.endswith(".optimized.onnx"):
        return source
    path = folder / "model.onnx"
    write_proto(read_proto(source), path)
    return path


def _tool(name: str) -> ModuleType:
    """Import one of ONNX Runtime's tools, which would set up logging for the whole process."""
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
    said = io.StringIO()
    converter = _tool("convert_onnx_models_to_ort")
    try:
        # Standard output carries results only; the converter leaves a file for Python to close.
        with contextlib.redirect_stdout(said), warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            converter.convert_onnx_models_to_ort(
                model,
                output_dir=folder,
                optimization_styles=[converter.OptimizationStyle.Fixed],
                enable_type_reduction=True,
            )
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise BackendError(
            f"ONNX Runtime cannot convert it to .ort: {text}", location=Location(model=str(source))
        ) from error
    finally:
        _log.debug("%s", said.getvalue().strip())
