"""Select layers by patterns over the names of nodes and weights, and set their bounds."""

import difflib
import fnmatch
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from acgraph.analysis.layers import constant_source, layers
from acgraph.errors import UsageError
from acgraph.ir import LayerBound, Model

#: Prefix of regular expressions; other patterns are globs.
REGEX: Final = "re:"
_SHOWN = 3
#: Tolerance for the rounding of decimal rates to binary fractions.
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class _Weighted:
    """A node with weights: its name, all names that patterns match, and the weights' shapes."""

    name: str
    names: tuple[str, ...]
    shapes: Mapping[int, tuple[int, ...]]


def bound_layers(
    model: Model,
    keep: Sequence[str] = (),
    layer_rate: Mapping[str, float] | None = None,
    max_layer_rate: float | None = None,
    *,
    inside: Mapping[str, Model] | None = None,
) -> dict[str, LayerBound]:
    """Return the bounds of the layers that the user selected, by node name.

    Patterns are matched with the names of nodes and of their weights. A glob such as ``head*`` must
    match the whole name; a regular expression such as ``re:^layer[34]``, any part of it. Where
    several patterns match a layer, the strictest bound counts.

    Args:
        model: The original model.
        keep: Patterns of layers that stay whole.
        layer_rate: The largest rate of layers, by pattern: at least ``1 / rate`` of the columns,
            and of each axis of the weights, is kept.
        max_layer_rate: The largest rate of all layers.
        inside: Models of branches, by the prefix of their names; see ``models_inside``.

    Raises:
        UsageError: A pattern matches nothing, or is not a valid regular expression.
    """
    models = {"": model, **(inside or {})}
    weighted = [each for path, one in models.items() for each in _weighted_nodes(one, path)]
    columns = {path + x.name: x.size // max(x.weight_shape[x.filter_axis], 1) if x.kernel
               else x.columns for path, one in models.items() for x in layers(one)}  # fmt: skip
    wanted = [("--keep", pattern, 1.0) for pattern in keep]
    wanted += [("--layer-rate", pattern, rate) for pattern, rate in (layer_rate or {}).items()]
    found: dict[str, LayerBound] = {}
    rates: dict[str, float] = {}

    def bind(each: _Weighted, reason: str, rate: float, *, is_whole: bool) -> None:
        name = each.name
        if name in found and (found[name].is_whole or (rates[name] <= rate and not is_whole)):
            return
        rates[name] = rate
        found[name] = LayerBound(
            reason=reason,
            is_whole=is_whole,
            axes={i: tuple(_least(n, rate) for n in shape) for i, shape in each.shapes.items()},
            columns=_least(columns.get(name, 0), rate),
        )

    for option, pattern, rate in wanted:
        matches = _matcher(option, pattern)
        mine = [each for each in weighted if any(map(matches, each.names))]
        if not mine:
            raise _matches_nothing(model, option, pattern, weighted)
        is_whole = option == "--keep"
        reason = f"kept by --keep '{pattern}'" if is_whole else _bounded(option, pattern, rate)
        for each in mine:
            bind(each, reason, rate, is_whole=is_whole)
    for each in weighted if max_layer_rate is not None else ():
        rate = max_layer_rate or 1.0
        bind(each, f"kept by --max-layer-rate {rate:g}x", rate, is_whole=False)
    return found


def _bounded(option: str, pattern: str, rate: float) -> str:
    return f"kept by {option} '{pattern}={rate:g}x'"


def _least(size: int, rate: float) -> int:
    return math.ceil(size / rate - _EPSILON)


def _weighted_nodes(model: Model, path: str) -> list[_Weighted]:
    """Return the nodes that read float constants of more than one element."""
    forms = model.constant_forms()
    found = []
    for node in model.graph.nodes:
        sources = {i: constant_source(tensor) for i, tensor in enumerate(node.inputs)}
        mine = {
            i: source
            for i, source in sources.items()
            if source is not None and _is_weight(*forms[source.name])
        }
        if mine:
            names = [path + node.name, *(path + source.name for source in mine.values())]
            shapes = {i: source.shape for i, source in mine.items()}
            found.append(_Weighted(names[0], tuple(dict.fromkeys(names)), shapes))
    return found


def _is_weight(dtype: str, shape: tuple[int, ...]) -> bool:
    # Types that numpy lacks, such as bfloat16, are given as ONNX type numbers.
    return math.prod(shape) > 1 and (dtype.startswith("float") or dtype.isdigit())


def _matcher(option: str, pattern: str) -> Callable[[str], bool]:
    if not pattern.startswith(REGEX):
        return lambda name: fnmatch.fnmatchcase(name, pattern)
    try:
        regex = re.compile(pattern.removeprefix(REGEX))
    except re.error as error:
        raise UsageError(
            f"{option} '{pattern}' is not a regular expression: {error}",
            hint="a glob such as 'head*' needs no 're:'",
        ) from None
    return lambda name: regex.search(name) is not None


def _matches_nothing(
    model: Model, option: str, pattern: str, weighted: Sequence[_Weighted]
) -> UsageError:
    names = list(dict.fromkeys(name for each in weighted for name in each.names))
    bare = pattern.removeprefix(REGEX).strip("*^$.")
    near = difflib.get_close_matches(bare, names, n=_SHOWN, cutoff=0.5)
    near = near or [name for name in names if bare.lower() in name.lower()][:_SHOWN]
    shown = ", ".join(f"'{name}'" for name in near)
    return UsageError(
        f"{option} '{pattern}' matches no layer",
        location=model.location(),
        hint=f"did you mean {shown}?" if near else "acgraph inspect lists the layers",
    )
