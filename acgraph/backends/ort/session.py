"""An ONNX Runtime session on the CPU without log output, by default configured as on a phone."""

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
from acgraph.limits import check_threads

#: A model in memory, the bytes of an .onnx or .ort file, or its path.
ModelSource = Model | bytes | str | os.PathLike[str]
Optimisation = Literal["all", "extended", "basic", "none"]

#: Models with more bytes of constants are loaded from a file, which ONNX Runtime maps into memory.
#: It makes several copies of a model that is given as bytes, and protobuf is limited to 2 GiB.
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
#: Log severity "fatal" of ONNX Runtime; all errors are reported as Python exceptions.
QUIET = 4
_MAX_MESSAGE = 300
#: Error of ONNX Runtime for an empty file, and for text that is by chance a valid protobuf.
_NO_GRAPH = "No graph was found in the protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """Settings of a session. The defaults are those of a phone.

    Attributes:
        threads: Intra-op threads; operators run one after another.
        nchwc: Whether to use the NCHWc layout on x86. It pads channels to the vector width (8 or
            16), which ARM builds do not, and so hides the gain from removing channels.
        optimisation: Level of ONNX Runtime's graph optimisations.
        profile: Whether to record the time of every operator, for ``profile_operators``.
        prepack: Whether kernels keep copies of the weights in their own layout, which is faster
            and doubles the memory.
    """

    threads: int = 1
    nchwc: bool = False
    optimisation: Optimisation = "all"
    profile: bool = False
    prepack: bool = True

    def __post_init__(self) -> None:
        check_threads(self.threads)
        if self.optimisation not in _LEVELS:
            raise UsageError(
                f"there is no optimisation level '{self.optimisation}'",
                hint=f"choose one of {', '.join(_LEVELS)}",
            )


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of a model.

    Attributes:
        name: Name of the tensor.
        dtype: Type of the elements; None if NumPy lacks it.
        shape: Sizes of the axes: a number, the name of a symbolic size, or None.
        kind: Type in ONNX Runtime's notation, for instance ``tensor(float)``.
    """

    name: str
    dtype: npt.DTypeLike | None
    shape: tuple[int | str | None, ...]
    kind: str

    @property
    def is_dynamic(self) -> bool:
        """Whether an axis has no fixed size."""
        return any(not isinstance(size, int) for size in self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the values are floats or pixels rather than indices."""
        return self.dtype is None or np.dtype(self.dtype) == np.uint8 or _kind(self.dtype) == "f"


@dataclass(frozen=True, slots=True)
class GraphInputs:
    """The inputs of a model, described as those of a session, without loading the model.

    Attributes:
        source: Name of the model, for messages.
        inputs: The inputs.
        sizes: Sizes of the inputs in this run.
    """

    source: str
    inputs: tuple[TensorInfo, ...]
    sizes: InputSizes

    @property
    def declared(self) -> tuple[Declared, ...]:
        """The inputs as the file declares them."""
        return _declared(self.inputs)

    @classmethod
    def of(cls, model: Model, sizes: InputSizes | None = None) -> "GraphInputs | None":
        """Describe the inputs of a model; None if only ONNX Runtime knows their types.

        Args:
            model: The model.
            sizes: Sizes of its inputs in this run; None uses those of the model.
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
        settings: Settings of the session.
        sizes: Sizes of its inputs in this run. None uses those of a ``Model``, and default sizes
            for a file.

    Raises:
        ImportModelError: The file does not exist, or is not an ONNX model.
        BackendError: ONNX Runtime cannot load the model.
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
        # An input whose rank only ONNX Runtime knows gets its default shape.
        self.sizes = (
            likely if sizes is None else replace(sizes, shapes={**likely.shapes, **sizes.shapes})
        )

    @property
    def declared(self) -> tuple[Declared, ...]:
        """The inputs as the file declares them."""
        return _declared(self.inputs)

    @property
    def providers(self) -> list[str]:
        """The execution providers that run the model."""
        return list(self._session.get_providers())

    def run(
        self, feeds: Mapping[str, Array], *, only: Container[str] | None = None
    ) -> dict[str, Array]:
        """Run the model once.

        Args:
            feeds: An array for every input, by name.
            only: Names of the outputs to return, None for all; unknown names are ignored.

        Returns:
            The outputs by name; tensors of a sequence are called ``name[0]``, ``name[1]``, ...

        Raises:
            BackendError: An input is missing, unknown, or of the wrong type or shape, or the run
                fails.
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
        """Run the model once, without checks; return all outputs, or those with these names.

        Raises:
            BackendError: The run fails.
        """
        try:
            return list(self._session.run(names, feeds))
        except Exception as error:
            raise _backend_error("cannot run", error, self.source) from error

    def end_profiling(self) -> str:
        """Stop the profiler, and return its record as JSON in Chrome's trace format."""
        return Path(self._session.end_profiling()).read_text(encoding="utf-8")

    def _check_names(self, feeds: Mapping[str, Array]) -> None:
        known = {info.name for info in self.inputs}
        missing, extra = sorted(known - feeds.keys()), sorted(feeds.keys() - known)
        if missing or extra:
            wrong = (
                f"there is no value for the input '{missing[0]}'"
                if missing
                else f"there is no input '{extra[0]}'"
            )
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
    """Return the name of a model for messages."""
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
        f"an output of type {info.kind} is not supported",
        location=Location(model=source, value=info.name),
        hint="export the model with tensors as outputs",
    )


def _backend_error(what: str, error: Exception, source: str) -> BackendError:
    """Return an error with ONNX Runtime's message in one line."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = " ".join(text.split()).rstrip(".")
    if len(text) > _MAX_MESSAGE:
        text = text[: _MAX_MESSAGE - 3] + "..."
    return BackendError(f"ONNX Runtime {what} the model: {text}", location=Location(model=source))
