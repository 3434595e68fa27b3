"""One ONNX Runtime session on the CPU: quiet, and set as on a phone unless told otherwise."""

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidProtobuf

from acgraph.diagnostics import Location
from acgraph.errors import BackendError, UsageError
from acgraph.ir import (
    Array,
    InputSizes,
    Model,
    input_sizes,
    not_onnx,
    proto_from_model,
    require_file,
    write_beside,
)
from acgraph.ir.sizes import Declared, Known, declared_shape, default_sizes

#: A model in memory, the bytes of an .onnx or .ort file, or its path.
ModelSource = Model | bytes | str | os.PathLike[str]
Optimisation = Literal["all", "extended", "basic", "none"]

#: Constants above this go to ONNX Runtime through a file, which it maps: it holds several copies
#: of a model that it gets as bytes (and protobuf's limit is 2 GiB).
MAX_BYTES_IN_MEMORY = 1 << 26

_LEVELS: dict[str, ort.GraphOptimizationLevel] = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_DTYPES: dict[str, type] = {
    "tensor(bool)": np.bool_,
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(int8)": np.int8,
    "tensor(string)": np.object_,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(uint8)": np.uint8,
}
#: Log severity of ONNX Runtime, fatal only: every error reaches Python as an exception.
QUIET = 4
_MAX_MESSAGE = 300
#: What ONNX Runtime says of an empty file, and of text that happens to be a protobuf.
_NO_GRAPH = "No graph was found in the protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """How ONNX Runtime shall run a model. The defaults are what a phone does.

    Attributes:
        threads: Threads inside an operator; operators run one after another.
        nchwc: Let x86 hosts use their NCHWc layout. It pads channels to the vector width (8 or
            16), which no ARM build does, and so hides what removing channels gains there.
        optimisation: How far ONNX Runtime optimises the graph when it loads it.
        profile: Record the time of every operator, for ``profile_operators``.
        prepack: Let kernels keep copies of the weights in the order that they like: faster, and
            twice the memory.
    """

    threads: int = 1
    nchwc: bool = False
    optimisation: Optimisation = "all"
    profile: bool = False
    prepack: bool = True

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UsageError(f"{self.threads} threads", hint="ask for at least 1")
        if self.optimisation not in _LEVELS:
            raise UsageError(
                f"no optimisation level '{self.optimisation}'", hint=f"one of {', '.join(_LEVELS)}"
            )


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or an output; ``dtype`` is None where numpy has no such type.

    A size in ``shape`` is a number, the name of a symbolic size, or None.
    """

    name: str
    dtype: npt.DTypeLike | None
    shape: tuple[int | str | None, ...]
    kind: str

    @property
    def is_dynamic(self) -> bool:
        """True where some size is not a number."""
        return any(not isinstance(size, int) for size in self.shape)

    @property
    def is_float(self) -> bool:
        """True where it takes floats or pixels, not indices."""
        return self.dtype is None or np.dtype(self.dtype) == np.uint8 or _kind(self.dtype) == "f"


@dataclass(frozen=True, slots=True)
class GraphInputs:
    """The inputs of a model that is not loaded, as those of a session."""

    source: str
    inputs: tuple[TensorInfo, ...]
    sizes: InputSizes

    @property
    def declared(self) -> tuple[Declared, ...]:
        """What the file says of its inputs."""
        return _declared(self.inputs)

    @classmethod
    def of(cls, model: Model, sizes: InputSizes | None = None) -> "GraphInputs | None":
        """Describe the inputs of a model; None where only ONNX Runtime can.

        Args:
            model: The model.
            sizes: Of its inputs in this run; by default those that it has.
        """
        kinds = {np.dtype(dtype): kind for kind, dtype in _DTYPES.items()}
        found = []
        for tensor in model.graph.inputs:
            is_plain = tensor.type == "tensor_type" and not isinstance(tensor.dtype, int)
            if not is_plain or tensor.dtype is None or tensor.shape is None:
                return None
            shape = tuple(
                size
                if isinstance(size, int) and size >= 0
                else (size if isinstance(size, str) and size else None)
                for size in tensor.shape
            )
            dtype = np.dtype(tensor.dtype)
            found.append(TensorInfo(tensor.name, dtype, shape, kinds.get(dtype, str(dtype))))
        return cls(model.source, tuple(found), sizes or input_sizes(model))


class Session:
    """A loaded model, ready to run on the CPU.

    Args:
        model: The model, see ``ModelSource``.
        settings: How to run it.
        sizes: The sizes of its inputs in this run. By default those that a model in memory has;
            of a file, the likeliest.

    Raises:
        ImportModelError: there is no such file.
        BackendError: ONNX Runtime refuses the model.
    """

    def __init__(
        self,
        model: ModelSource,
        settings: SessionSettings | None = None,
        *,
        sizes: InputSizes | None = None,
    ) -> None:
        self.settings = settings or SessionSettings()
        self.source = name_of(model)
        folder = tempfile.mkdtemp(prefix="acgraph-profile-") if self.settings.profile else ""
        if folder:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        options = _options(self.settings, folder)
        self._session = _load(model, options, self.settings, self.source)
        self.inputs = tuple(_info(entry) for entry in self._session.get_inputs())
        self.outputs = tuple(_info(entry) for entry in self._session.get_outputs())
        if sizes is None and isinstance(model, Model):
            sizes = input_sizes(model)
        likely = default_sizes(Known(self.declared))
        # An input whose rank only ONNX Runtime knows has its likeliest shape.
        self.sizes = (
            likely if sizes is None else replace(sizes, shapes={**likely.shapes, **sizes.shapes})
        )

    @property
    def declared(self) -> tuple[Declared, ...]:
        """What the file says of its inputs."""
        return _declared(self.inputs)

    @property
    def providers(self) -> list[str]:
        """What really runs the model, not what was asked for."""
        return list(self._session.get_providers())

    def run(
        self, feeds: Mapping[str, Array], *, only: Container[str] | None = None
    ) -> dict[str, Array]:
        """Run once.

        Args:
            feeds: An array for every input, by name.
            only: The outputs to return, all by default; those that the model lacks are ignored.

        Returns:
            Every output by name; the tensors of a sequence as ``name[0]``, ``name[1]``...

        Raises:
            BackendError: an input is missing, unknown or of the wrong type or shape, or the
                model fails.
        """
        self._check_names(feeds)
        wanted = [x for x in self.outputs if only is None or x.name in only]
        values = self.run_raw(feeds, [info.name for info in wanted])
        result: dict[str, Array] = {}
        for info, value in zip(wanted, values, strict=True):
            result.update(_flatten(info, value, self.source))
        return result

    def run_raw(
        self, feeds: Mapping[str, Array], names: Sequence[str] | None = None
    ) -> Sequence[Any]:
        """Run once and return what ONNX Runtime returns: all outputs, or those with these names."""
        try:
            return list(self._session.run(names, feeds))
        except Exception as error:
            raise _backend_error("cannot run", error, self.source) from error

    def end_profiling(self) -> str:
        """Stop recording, and return the record: JSON in Chrome's trace format."""
        return Path(self._session.end_profiling()).read_text(encoding="utf-8")

    def _check_names(self, feeds: Mapping[str, Array]) -> None:
        known = {info.name for info in self.inputs}
        missing, extra = sorted(known - feeds.keys()), sorted(feeds.keys() - known)
        if missing or extra:
            wrong = f"no value for input '{missing[0]}'" if missing else f"no input '{extra[0]}'"
            raise BackendError(
                wrong,
                location=Location(model=self.source),
                hint=f"the inputs are {', '.join(sorted(known)) or 'none'}",
            )


def _declared(inputs: Sequence[TensorInfo]) -> tuple[Declared, ...]:
    return tuple(Declared(info.name, declared_shape(info.shape), info.is_float) for info in inputs)


def _kind(dtype: npt.DTypeLike) -> str:
    return np.dtype(dtype).kind


def name_of(model: ModelSource) -> str:
    """Say what to call a model in messages."""
    if isinstance(model, Model):
        return model.source
    return "<memory>" if isinstance(model, bytes) else os.fspath(model)


def _options(settings: SessionSettings, profile_folder: str) -> ort.SessionOptions:
    ort.set_default_logger_severity(QUIET)
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = _LEVELS[settings.optimisation]
    options.log_severity_level = QUIET
    if not settings.prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if settings.profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(profile_folder) / "ort")
    return options


def _load(
    model: ModelSource, options: ort.SessionOptions, settings: SessionSettings, source: str
) -> ort.InferenceSession:
    disabled = [] if settings.nchwc else ["NchwcTransformer"]

    def load(what: str | bytes) -> ort.InferenceSession:
        try:
            return ort.InferenceSession(
                what,
                sess_options=options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=disabled,
            )
        except InvalidProtobuf as error:
            raise not_onnx(source) from error
        except Exception as error:
            if _NO_GRAPH in str(error):
                raise not_onnx(source) from error
            raise _backend_error("cannot load", error, source) from error

    if isinstance(model, bytes):
        return load(model)
    if not isinstance(model, Model):
        require_file(source)
        return load(source)
    if model.constant_bytes() < MAX_BYTES_IN_MEMORY:
        return load(proto_from_model(model).SerializeToString())
    with tempfile.TemporaryDirectory(prefix="acgraph-large-") as folder:
        path = Path(folder) / "model.onnx"
        write_beside(model, path)
        return load(str(path))


def _info(entry: ort.NodeArg) -> TensorInfo:
    shape = tuple(
        size if isinstance(size, int) and size >= 0 else (size if isinstance(size, str) else None)
        for size in entry.shape or ()
    )
    return TensorInfo(entry.name, _DTYPES.get(entry.type), shape, entry.type)


def _flatten(info: TensorInfo, value: object, source: str) -> dict[str, Array]:
    if isinstance(value, np.ndarray):
        return {info.name: value}
    if isinstance(value, np.generic):
        return {info.name: np.asarray(value)}
    if isinstance(value, list) and all(isinstance(part, np.ndarray) for part in value):
        return {f"{info.name}[{index}]": part for index, part in enumerate(value)}
    raise BackendError(
        f"is {info.kind}, which is not supported",
        location=Location(model=source, value=info.name),
        hint="export the model with tensors for outputs",
    )


def _backend_error(what: str, error: Exception, source: str) -> BackendError:
    """Make one line of what ONNX Runtime says."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = " ".join(text.split()).rstrip(".")
    if len(text) > _MAX_MESSAGE:
        text = text[: _MAX_MESSAGE - 3] + "..."
    return BackendError(f"ONNX Runtime {what} it: {text}", location=Location(model=source))
