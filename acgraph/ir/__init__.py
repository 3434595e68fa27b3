"""Reading, checking, editing, printing and writing of ONNX models.

No other package imports ``onnx``.
"""

from acgraph.ir.bounds import LayerBound
from acgraph.ir.constants import in_c_order, is_same, replace_constants
from acgraph.ir.external import external_files
from acgraph.ir.facts import FLOAT_TYPES, Facts
from acgraph.ir.files import (
    is_device,
    make_folder,
    not_onnx,
    require_file,
    sync_folder,
    write_bytes,
)
from acgraph.ir.guess import resolve_sizes
from acgraph.ir.lazy import stored_bytes
from acgraph.ir.mapped import release_mapped
from acgraph.ir.model import Array, InputSizes, Model, constant_node_value
from acgraph.ir.odd_values import array_bytes
from acgraph.ir.onnx_io import (
    clone_model,
    count_params,
    model_from_proto,
    proto_from_model,
    proto_size,
    read_model,
    read_proto,
    write_proto,
)
from acgraph.ir.shapes import infer_facts, walk_shapes
from acgraph.ir.sizes import input_sizes
from acgraph.ir.store import stored_size, write_beside, write_model
from acgraph.ir.together import written_together

__all__ = [
    "FLOAT_TYPES",
    "Array",
    "Facts",
    "InputSizes",
    "LayerBound",
    "Model",
    "array_bytes",
    "clone_model",
    "constant_node_value",
    "count_params",
    "external_files",
    "in_c_order",
    "infer_facts",
    "input_sizes",
    "is_device",
    "is_same",
    "make_folder",
    "model_from_proto",
    "not_onnx",
    "proto_from_model",
    "proto_size",
    "read_model",
    "read_proto",
    "release_mapped",
    "replace_constants",
    "require_file",
    "resolve_sizes",
    "stored_bytes",
    "stored_size",
    "sync_folder",
    "walk_shapes",
    "write_beside",
    "write_bytes",
    "write_model",
    "write_proto",
    "written_together",
]
