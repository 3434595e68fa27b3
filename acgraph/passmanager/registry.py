"""Find pass classes by name; each is imported on first use."""

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, cast

from acgraph.errors import UsageError
from acgraph.passmanager.base import Pass

#: Name of a pass -> ``"module:Class"``.
Registry = Mapping[str, str]


def load_pass(name: str, registry: Registry) -> type[Pass]:
    """Import the class of a pass.

    Raises:
        UsageError: No pass has this name.
    """
    if name not in registry:
        raise UsageError(f"no pass is named '{name}'", hint=_hint(name, registry))
    module, _, attribute = registry[name].partition(":")
    return cast("type[Pass]", getattr(importlib.import_module(module), attribute))


def summary(pass_class: type[Any]) -> str:
    """Return the first line of the docstring of a pass."""
    return (pass_class.__doc__ or "").strip().splitlines()[0]


def _hint(name: str, registry: Registry) -> str:
    near = difflib.get_close_matches(name, registry, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known passes: {', '.join(sorted(registry))}"
