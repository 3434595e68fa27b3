"""Analyse the branches of Ifs, each as a model of its own.

The inputs and outputs of a branch keep all channels. Names of nodes, values and families in a
branch have its path as prefix, as in ``If_0/then/conv1``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from acgraph.analysis.cost import LayerCost, layer_costs
from acgraph.analysis.dependency import DependencyGraph, analyse
from acgraph.analysis.families import Family
from acgraph.diagnostics import Diagnostic, Location
from acgraph.errors import AcgraphError
from acgraph.ir import Model
from acgraph.ir.branches import OpenBranch, find_branches, open_branch
from acgraph.ir.shapes import is_static


@dataclass(frozen=True, slots=True, eq=False)
class BranchGraph:
    """The analysis of one branch.

    Attributes:
        opened: The branch.
        graph: Its dependency graph, without its own branches.
        inner: The branches of the Ifs in it.
    """

    opened: OpenBranch
    graph: DependencyGraph
    inner: "Branches"

    @property
    def path(self) -> str:
        """The prefix of its names, without the final slash."""
        return self.opened.branch.path


@dataclass(frozen=True, slots=True)
class Branches:
    """The branches of the Ifs of one graph.

    Attributes:
        found: The analysed branches with weights, in graph order.
        fences: The reasons why other branches with weights could not be analysed.
    """

    found: tuple[BranchGraph, ...] = ()
    fences: tuple[Diagnostic, ...] = ()


NO_BRANCHES = Branches()


def without(branches: Branches, fences: Mapping[str, Diagnostic], path: str = "") -> Branches:
    """Remove branches, nested ones included, and add a fence for each.

    Args:
        branches: The branches of a model.
        fences: The reason for each removed branch, by its path from the outermost model.
        path: Prefix of the names of the model.
    """
    kept = tuple(
        replace(each, inner=without(each.inner, fences, f"{path}{each.path}/"))
        for each in branches.found
        if path + each.path not in fences
    )
    removed = [
        replace(fences[path + each.path], location=Location(value=each.path))
        for each in branches.found
        if path + each.path in fences
    ]
    return Branches(kept, (*branches.fences, *removed))


def _same(model: Model, path: str) -> Model:
    return model


def analyse_branches(
    graph: DependencyGraph,
    *,
    prepare: Callable[[Model, str], Model] = _same,
    decide: bool | None = None,
    path: str = "",
) -> Branches:
    """Analyse the branches of all Ifs of a model, nested ones included.

    Args:
        graph: Dependency graph of the outer model.
        prepare: Transforms the model of a branch before its analysis; called with the model and the
            prefix of its names.
        decide: See ``open_branch``; by default whether the model fixes all sizes.
        path: Prefix of the names of the outer model.
    """
    model = graph.model
    decide = is_static(model) if decide is None else decide
    found, fences = [], []
    for branch in find_branches(model):
        try:
            opened = open_branch(model, branch, graph.facts, decide=decide)
        except AcgraphError as error:
            location = model.location(value=branch.path)
            fences.append(Diagnostic(location=location, message=error.diagnostic.message))
            continue
        inside = f"{path}{branch.path}/"
        own = analyse(prepare(opened.model, inside))
        inner = analyse_branches(own, prepare=prepare, decide=decide, path=inside)
        found.append(BranchGraph(opened, own, inner))
    return Branches(tuple(found), tuple(fences))


def moved(note: Diagnostic, path: str, model: str) -> Diagnostic:
    """Translate the location of a diagnostic from a branch to the outer model."""
    where = note.location
    location = Location(
        model=model,
        node=f"{path}/{where.node}" if where.node else "",
        op_type=where.op_type,
        value=f"{path}/{where.value}" if where.value else "",
        axis=where.axis,
    )
    return replace(note, location=location)


def moved_family(family: Family, path: str, model: str) -> Family:
    """Translate all names of a family from a branch to the outer model."""
    return replace(
        family,
        name=f"{path}/{family.name}",
        members=tuple(replace(m, tensor=f"{path}/{m.tensor}") for m in family.members),
        fences=tuple(moved(note, path, model) for note in family.fences),
        inexact=tuple(moved(note, path, model) for note in family.inexact),
        rivals=tuple(f"{path}/{rival}" for rival in family.rivals),
    )


def all_families(graph: DependencyGraph, branches: Branches) -> list[Family]:
    """Return the families of a model and of its branches."""
    source = graph.model.source
    return [
        *graph.families,
        *(
            moved_family(family, each.path, source)
            for each in branches.found
            for family in all_families(each.graph, each.inner)
        ),
    ]


def all_fences(graph: DependencyGraph, branches: Branches) -> list[Diagnostic]:
    """Return the fences of a model and of its branches."""
    source = graph.model.source
    return [
        *graph.all_fences(),
        *branches.fences,
        *(
            moved(note, each.path, source)
            for each in branches.found
            for note in all_fences(each.graph, each.inner)
        ),
    ]


def all_layers(graph: DependencyGraph, branches: Branches) -> list[LayerCost]:
    """Return the layers of a model and of its branches, with their costs."""
    return [
        *layer_costs(graph.model, graph.facts),
        *(
            replace(layer, name=f"{each.path}/{layer.name}")
            for each in branches.found
            for layer in all_layers(each.graph, each.inner)
        ),
    ]
