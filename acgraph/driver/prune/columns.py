"""Columns in ``prune``: cut and lowered, or restored if the cut saves nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from acgraph.analysis.dependency import analyse
from acgraph.analysis.families import Family
from acgraph.analysis.layers import layers
from acgraph.driver.cost.compact import compact
from acgraph.driver.space.columns import LayerCut, zero_columns
from acgraph.driver.state.positions import Positions, compose
from acgraph.ir import Array, Model, is_same, replace_constants
from acgraph.lowering.base import DENSE, Candidate, Chooser
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.pruning.dead import dead_sets
from acgraph.pruning.plan import Bools, Plan
from acgraph.pruning.select import aligned_count, choose_families, magnitudes
from acgraph.pruning.shrink import Shrunk, shrink

#: Why the columns of a layer are kept although they could be cut, by whether forms are timed.
IDLE = {
    True: "no compact form of the layer is both smaller and faster than the dense form",
    False: "no compact form of the layer is smaller than the dense form",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRequest:
    """A request to remove columns.

    Attributes:
        share: Share of the columns of every layer, in (0, 1).
        pattern: Which columns are removed together.
        multiple: The pattern's granularity.
        align: Of the filters that nothing reads any more, so many are removed that a multiple of
            this number is kept.
        chooser: Chooses the form of each layer.
        is_timed: Whether a form had to be faster than the dense one.
    """

    share: float
    pattern: str
    multiple: int
    align: int
    chooser: Chooser
    is_timed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnCut:
    """The result of removing columns.

    Attributes:
        model: The model with its layers lowered.
        weights: The constants before lowering, with removed columns set to zero.
        kept: The indices of these constants in the dense model.
        lowered: The compact form of each layer.
        cuts: The pattern of each layer's columns, or the reason why they are kept.
    """

    model: Model
    weights: Mapping[str, Array]
    kept: Positions
    lowered: list[LoweredLayer]
    cuts: list[LayerCut]


@dataclass(frozen=True, slots=True)
class NotLarger:
    """Excludes forms that take more bytes than the dense layer, before another chooser decides.

    Attributes:
        chooser: Chooses among the remaining forms.
    """

    chooser: Chooser

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Choose a form."""
        dense = candidates[0]
        allowed = [dense, *(way for way in candidates[1:] if way.size <= dense.size)]
        return self.chooser.choose(allowed) if len(allowed) > 1 else dense


def cut_columns(shrunk: Shrunk, request: ColumnRequest) -> ColumnCut:
    """Cut the columns of a shrunk model and lower its layers.

    A layer that stays dense nevertheless gets its columns back: zeros in it would cost accuracy and
    save nothing.

    Args:
        shrunk: The model, whose constants are changed in place.
        request: Which columns to remove.
    """
    before = shrunk.model.constants()
    cuts = zero_columns(
        shrunk.model, request.share, pattern=request.pattern, multiple=request.multiple
    )
    model, left = _drop_dead(shrunk.model, request.align)
    while True:
        small, lowered = compact(model, request.chooser)
        idle = _idle(model, lowered, cuts)
        weights = model.constants()
        whole = {name: _part(before[name], left.get(name, {})) for name in idle}
        # If the channels of all removed columns were removed, there is nothing to restore.
        whole = {name: value for name, value in whole.items() if not is_same(value, weights[name])}
        if not whole:
            break
        replace_constants(model, whole)
        back = {layer.name for layer in layers(model) if layer.weight in whole}
        remark = IDLE[request.is_timed]
        cuts = [LayerCut(name=c.name, remark=remark) if c.name in back else c for c in cuts]
    kept = compose(shrunk.kept, Shrunk(model=model, kept=left))
    return ColumnCut(model=small, weights=weights, kept=kept, lowered=lowered, cuts=cuts)


def _idle(model: Model, lowered: Iterable[LoweredLayer], cuts: Iterable[LayerCut]) -> set[str]:
    """Return the weights whose columns were cut although all layers that use them stay dense."""
    cut = {each.name for each in cuts if each.pattern}
    stayed = {each.name: each.form == DENSE for each in lowered}
    readers: dict[str, list[str]] = {}
    for layer in layers(model):
        readers.setdefault(layer.weight, []).append(layer.name)
    return {
        weight
        for weight, names in readers.items()
        if cut.intersection(names) and all(stayed.get(name, True) for name in names)
    }


def _part(value: Array, axes: Mapping[int, np.typing.NDArray[np.int64]]) -> Array:
    """Return the kept part of a constant."""
    for axis, kept in axes.items():
        value = np.take(value, kept, axis=axis)
    return value


def _drop_dead(model: Model, align: int) -> tuple[Model, Positions]:
    """Delete the filters that nothing reads any more because all columns of a channel were removed.

    Args:
        model: The model with removed columns set to zero.
        align: Keep a multiple of this many filters.

    Returns:
        The smaller model, and the original indices of its constants.
    """
    kept: Positions = {}
    while True:
        dependency = analyse(model)
        families = {f.name: f for f in choose_families(dependency.prunable(allow_inexact=False))}
        weights = model.constants()
        dead = dead_sets(dependency, families.values(), weights)
        aligned = {name: _aligned(families[name], dead[name], weights, align) for name in dead}
        sets = {name: gone for name, gone in aligned.items() if gone.any()}
        if not sets:
            return model, kept
        shrunk = shrink(dependency, Plan(sets=sets))
        model, kept = shrunk.model, compose(kept, shrunk)


def _aligned(family: Family, gone: Bools, weights: Mapping[str, Array], align: int) -> Bools:
    """Keep the largest of the sets to remove until a multiple of ``align`` is kept."""
    kept = family.size - int(gone.sum())
    wanted = max(kept, family.min_keep)
    missing = aligned_count(wanted, family.size, align, up=True) - kept
    if not missing:
        return gone
    scores = np.where(gone, magnitudes(family, weights), -np.inf)
    result = gone.copy()
    result[np.argsort(-scores, kind="stable")[:missing]] = False
    return result


def for_original(
    lowered: Sequence[LoweredLayer], cuts: Sequence[LayerCut], original: Model
) -> list[LoweredLayer]:
    """Count columns in terms of the original model, and add why those of a layer were kept."""
    remarks = {cut.name: cut.remark for cut in cuts}
    before = {layer.name: layer.columns for layer in layers(original)}
    return [
        replace(
            layer,
            columns_before=before.get(layer.name, layer.columns_before),
            remark=remarks.get(layer.name) or layer.remark,
        )
        for layer in lowered
    ]
