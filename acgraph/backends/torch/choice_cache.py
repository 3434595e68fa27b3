"""A cache on disk for choices that were made by timing, so that later runs need not time again."""

import hashlib
import json
import logging
import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
import torch
from torch import nn

from acgraph.backends.torch.inputs import Inputs

log = logging.getLogger(__name__)

#: Environment variable that names the folder of cached choices.
CACHE_VARIABLE = "ACGRAPH_CACHE"


def signature(module: nn.Module, x: Inputs, *more: object) -> str:
    """Return a digest of everything that a choice depends on: the cache key.

    Args:
        module: The network.
        x: A typical batch.
        more: Further facts that the choice depends on, serialisable as JSON.
    """
    facts = [
        type(module).__name__,
        [(n, list(p.shape)) for n, p in module.named_parameters()],
        *(list(tensor.shape) for tensor in x.tensors),
        str(x.device),
        *more,
        torch.__version__,
        torch.get_num_threads(),
        torch.backends.cpu.get_cpu_capability(),
        platform.node(),
        platform.processor(),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def load_choice(kind: str, key: str) -> dict[str, Any] | None:
    """Return a choice that :func:`store_choice` wrote; None if there is none or it is damaged."""
    file = _cache_file(kind, key)
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s: the cached choice cannot be read, timing again: %s", file, error)
        return None
    return content


def store_choice(kind: str, key: str, content: Mapping[str, Any]) -> None:
    """Cache a choice; log a warning if the folder cannot be written."""
    file = _cache_file(kind, key)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False) as stream:
            json.dump(dict(content), stream)
        Path(stream.name).replace(file)
    except OSError as error:
        log.warning("%s: cannot be written, so each run times the modes again: %s", file, error)


def _cache_file(kind: str, key: str) -> Path:
    folder = os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("acgraph")
    return Path(folder) / kind / f"{key}.json"
