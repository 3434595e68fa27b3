"""Cut a model by a plan: the coupled sets and the columns that it lists."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.analysis.families import Family
from acgraph.analysis.labels import Ints
from acgraph.analysis.layers import layers
from acgraph.diagnostics import Location
from acgraph.driver.cost.compact import compact
from acgraph.driver.state.positions import Positions, compose, expand
from acgraph.errors import UsageError
from acgraph.ir import Array, Model, clone_model, replace_constants
from acgraph.ir.branches import OpenBranch, find_branches, open_branch, put_branch
from acgraph.ir.shapes import is_static
from acgraph.lowering.base import Candidate
from acgraph.lowering.fragment import Weights
from acgraph.lowering.sharing import with_label
from acgraph.passes.lower_columns import LoweredLayer
from acgraph.passes.untie_constants import untie_constants
from acgraph.pruning.cut_plan import AxisCut, CutPlan
from acgraph.pruning.layer_columns import cut_columns, layer_matrix
from acgraph.pruning.plan import Bools, Plan
from acgraph.pruning.shrink import masked_model, shrink
from acgraph.pruning.tie import retie_constants, write_once

#: The indices to remove, by constant and axis: ``bool [size]``.
_Wanted = dict[tuple[str, int], Bools]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A model that was cut by a plan.

    Attributes:
        model: The compact model.
        masked: The original model, with zeros in place of what was removed.
        dependency: The dependency graph of the original model, with shared constants untied.
        sets: The removed coupled sets, by family.
        lowered: The compact form of each layer whose columns were removed.
    """

    model: Model
    masked: Model
    dependency: DependencyGraph
    sets: Mapping[str, Bools]
    lowered: list[LoweredLayer] = field(default_factory=list)


def apply_plan(model: Model, plan: CutPlan) -> Applied:
    """Cut a copy of a model by a plan.

    Args:
        model: The model that the plan was made for, or one with the same layers.
        plan: What to cut. It may list only some members of a coupled set: the indices on one axis
            of one tensor are enough, and the rest of the set is removed with them.

    Raises:
        UsageError: The plan names something that the model lacks, or that cannot be removed.
    """
    return _apply(model, plan, decide=is_static(model))


def _apply(model: Model, plan: CutPlan, *, decide: bool) -> Applied:
    prepared = clone_model(model)
    prepared.bounds = {}
    copies = untie_constants(prepared)
    dependency = analyse(prepared)
    made = cut_by_plan(model, dependency, copies, plan)
    branches = find_branches(prepared) if plan.branches else []
    opened = [open_branch(prepared, b, dependency.facts, decide=decide) for b in branches]
    check_branches(plan, model, opened)
    for each in opened:
        inner = plan.branches.get(each.branch.path)
        if inner is not None:
            found = _apply(each.model, inner, decide=decide)
            put_branch(made.model, each, found.model)
            put_branch(made.masked, each, found.masked)
    return made


def check_branches(plan: CutPlan, model: Model, opened: Sequence[OpenBranch]) -> None:
    """Check that a model has the branches that a plan cuts.

    Raises:
        UsageError: It lacks one.
    """
    paths = {each.branch.path for each in opened}
    for path in plan.branches:
        if path not in paths:
            raise UsageError(
                "the plan cuts a branch that the model does not have",
                location=model.location(value=path),
            )


def cut_by_plan(
    model: Model, dependency: DependencyGraph, copies: Mapping[str, str], plan: CutPlan
) -> Applied:
    """Cut a model by a plan, except for its branches, when its analysis is already available.

    Args:
        model: The original model.
        dependency: The dependency graph of the model with shared constants untied.
        copies: The constants that untying created, each with the name of its origin.
        plan: What to cut.

    Raises:
        UsageError: The plan names something that the model lacks, or that cannot be removed.
    """
    if not plan.axes and not plan.columns and plan.forms is None:
        return Applied(
            model=clone_model(model), masked=clone_model(model), dependency=dependency, sets={}
        )
    prepared = clone_model(dependency.model)
    wanted = _wanted(prepared, plan.axes)
    _zero_columns(prepared, plan)
    dependency = first = replace(dependency, model=prepared)
    kept: Positions = {}
    all_sets: dict[str, Bools] = {}
    small, steps = prepared, 0
    while sets := _whole_sets(dependency, wanted, kept):
        all_sets = all_sets or sets
        shrunk = shrink(dependency, Plan(sets=sets))
        small, kept, steps = shrunk.model, compose(kept, shrunk), steps + 1
        if not _left(wanted, kept):
            break
        dependency = analyse(small)  # the cut may have made further sets removable
    if left := _left(wanted, kept):
        raise _cannot(first, *next(iter(left.items())))
    masked = masked_model(first, Plan(sets=all_sets))
    if steps > 1:
        masked = expand(masked, first, small.constants(), kept)
    lowered: list[LoweredLayer] = []
    if plan.forms is not None:
        small, lowered = compact(small, _Recorded.of(plan, small))
    elif small is prepared:
        small = clone_model(prepared)
    write_once(small, copies)
    retie_constants(masked, copies)
    return Applied(model=small, masked=masked, dependency=first, sets=all_sets, lowered=lowered)


def _wanted(model: Model, axes: Sequence[AxisCut]) -> _Wanted:
    forms = model.constant_forms()
    found: _Wanted = {}
    for cut in axes:
        name = f"{cut.tensor}/{cut.reader}" if cut.reader else cut.tensor
        where = model.location(value=cut.tensor, axis=cut.axis)
        if name not in forms:
            raise UsageError("the plan cuts a tensor that the model does not have", location=where)
        shape = forms[name][1]
        if cut.axis >= len(shape) or shape[cut.axis] != cut.size:
            raise UsageError(
                f"the plan expects {cut.size} positions, but the tensor has shape {list(shape)}",
                location=where,
                hint="use the file that the plan was made from",
            )
        if max(cut.removed, default=0) >= cut.size:
            raise UsageError(f"the axis has no position {max(cut.removed)}", location=where)
        flags = np.zeros(cut.size, bool)
        flags[list(cut.removed)] = True
        found[name, cut.axis] = flags
    return found


def _zero_columns(model: Model, plan: CutPlan) -> None:
    """Zero the removed columns of the layers, in place."""
    found = {layer.name: layer for layer in layers(model)}
    changed: dict[str, Array] = {}
    constants = model.constants()
    for cut in plan.columns:
        layer = found.get(cut.layer)
        where = Location(model=model.source, node=cut.layer)
        if layer is None:
            raise UsageError(
                "the plan cuts columns of a layer that the model does not have", location=where
            )
        weight = changed.get(layer.weight, constants[layer.weight])
        shape = layer_matrix(layer, weight).shape[1:]
        if shape != cut.shape:
            raise UsageError(
                f"the plan expects columns of shape {list(cut.shape)}, but those of the layer "
                f"have shape {list(shape)}",
                location=where,
                hint="use the file that the plan was made from",
            )
        flags = np.ones(int(np.prod(shape)), bool)
        flags[list(cut.removed)] = False
        changed[layer.weight] = cut_columns(layer, weight, flags.reshape(shape))
    replace_constants(model, changed)


def _whole_sets(dependency: DependencyGraph, wanted: _Wanted, kept: Positions) -> dict[str, Bools]:
    """Return, by family, the coupled sets of which all indices on some axis are to be removed."""
    found = {}
    for family in dependency.families:
        gone = np.zeros(family.size, bool)
        for flags, own in _flagged(family, wanted, kept):
            present = np.bincount(own[own >= 0], minlength=family.size)
            listed = np.bincount(own[(own >= 0) & flags], minlength=family.size)
            gone |= (present > 0) & (present == listed)
        if gone.any() and not gone.all() and not family.fences:
            found[family.name] = gone
    return found


def _flagged(family: Family, wanted: _Wanted, kept: Positions) -> Iterator[tuple[Bools, Ints]]:
    """Yield, for each member that the plan names, which of its indices are to be removed."""
    for member in family.members:
        flags = wanted.get((member.tensor, member.axis))
        if flags is not None:
            positions = kept.get(member.tensor, {}).get(member.axis)
            yield (flags if positions is None else flags[positions]), member.sets


def _left(wanted: _Wanted, kept: Positions) -> dict[tuple[str, int], Ints]:
    """Return the indices that should have been removed but were not."""
    left = {}
    for (name, axis), flags in wanted.items():
        positions = kept.get(name, {}).get(axis, np.arange(len(flags)))
        still = positions[flags[positions]]
        if still.size:
            left[name, axis] = still
    return left


def _cannot(dependency: DependencyGraph, axis_of: tuple[str, int], positions: Ints) -> UsageError:
    """Return an error that explains, as far as known, why indices cannot be removed."""
    name, axis = axis_of
    families = [
        family
        for family in dependency.families
        for member in family.members
        if (member.tensor, member.axis) == axis_of and (member.sets[positions] >= 0).any()
    ]
    reasons = [str(fence) for family in families for fence in family.fences]
    hint = reasons[0] if reasons else "the positions that are coupled to it must be removed as well"
    return UsageError(
        f"position {int(positions[0])} cannot be removed",
        location=dependency.model.location(value=name, axis=axis),
        hint=hint,
    )


@dataclass(frozen=True, slots=True)
class _Recorded:
    """Chooses for each layer the form that a plan records; layers are identified by weight."""

    labels: Mapping[str, str]

    @staticmethod
    def of(plan: CutPlan, model: Model) -> "_Recorded":
        """Make a chooser for a plan and the shrunk model, which has the node names of the file."""
        labels = {form.layer: form.label for form in plan.forms or ()}
        found = [layer for layer in layers(model) if layer.name in labels]
        return _Recorded(
            {
                # The second is the name after folding, if other nodes read the weight as well.
                name: labels[layer.name]
                for layer in found
                for name in (layer.weight, f"{layer.name}.weight")
            }
        )

    def choose(self, candidates: Sequence[Candidate]) -> Candidate:
        """Pick the recorded form.

        Raises:
            UsageError: The layer has no such form.
        """
        dense = candidates[0]
        sources = [c.source for c in dense.fragment.constants() if isinstance(c, Weights)]
        weight = next((name for name in sources if name in self.labels), None)
        if weight is None:
            return dense
        chosen = with_label(candidates, self.labels[weight])
        if chosen is None:
            raise UsageError(
                f"the layer cannot be stored in form '{self.labels[weight]}'",
                location=Location(value=weight),
                hint="use the file that the plan was made from",
            )
        return chosen
