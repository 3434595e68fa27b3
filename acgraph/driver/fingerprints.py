"""Tell whether a run that goes on reads what it was started with."""

import hashlib

import numpy as np

from acgraph.data import Dataset, spread_indices
from acgraph.driver.inputs import RunData
from acgraph.ir import Model
from acgraph.ir.check import fingerprint

#: Examples whose content is hashed; labels all are.
EXAMPLES = 16


def input_fingerprints(original: Model, data: RunData) -> dict[str, str]:
    """Hash the model with its weights, and the data, by what a message calls them."""
    return {
        "a model": fingerprint(original),
        "training data": _of_data(data.train),
        "evaluation data": _of_data(data.select) + _of_data(data.report),
    }


def _of_data(data: Dataset) -> str:
    """Hash the number of examples, all labels, and a few examples as the network gets them."""
    digest = hashlib.sha256(str(len(data)).encode())
    if data.labels is not None:
        digest.update(np.ascontiguousarray(data.labels, np.int64).tobytes())
    x, _ = data.batch(spread_indices(len(data), EXAMPLES))
    digest.update(f"{x.dtype} {x.shape}".encode())
    digest.update(np.ascontiguousarray(x).tobytes())
    return digest.hexdigest()
