"""Datasets: open the data of ``--data``, and check that it fits the network."""

from acgraph.data.batch import Array, Axis, Batch
from acgraph.data.checks import InputSpec, are_class_numbers, check_has_classes, check_label_range
from acgraph.data.dataset import (
    ArrayDataset,
    Dataset,
    Indices,
    Labels,
    Layout,
    Subset,
    Unlabelled,
    batch_reader,
    cut_indices,
    first_example,
    iterate_batches,
    split,
    spread_indices,
)
from acgraph.data.folder import FolderDataset
from acgraph.data.load import load_dataset
from acgraph.data.pixels import Pixels

__all__ = [
    "Array",
    "ArrayDataset",
    "Axis",
    "Batch",
    "Dataset",
    "FolderDataset",
    "Indices",
    "InputSpec",
    "Labels",
    "Layout",
    "Pixels",
    "Subset",
    "Unlabelled",
    "are_class_numbers",
    "batch_reader",
    "check_has_classes",
    "check_label_range",
    "cut_indices",
    "first_example",
    "iterate_batches",
    "load_dataset",
    "split",
    "spread_indices",
]
