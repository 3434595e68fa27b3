"""What may be removed from the branches of Ifs: each is analysed as a model of its own.

What goes into a branch and out of it keeps its channels; so does what its neighbour reads.
Names of nodes, values and families in a branch begin with its path, as in ``If_0/then/conv1``.
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
    """What may be removed from one branch.

    Attributes:
        opened: The branch.
        graph: What may be removed from it, save for its own branches.
        inner: The branches of the Ifs in it.
    """

    opened: OpenBranch
    graph: DependencyGraph
    inner: "Branches"

    @property
    def path(self) -> str:
        """What stands before its names."""
        return self.opened.branch.path


@dataclass(frozen=True, slots=True)
class Branches:
    """The branches of the Ifs of one graph.

    Attributes:
        found: Those with weights that could be analysed, in graph order.
        fences: The others with weights, and why they could not.
    """

    found: tuple[BranchGraph, ...] = ()
    fences: tuple[Diagnostic, ...] = ()


NO_BRANCHES = Branches()


def without(branches: Branches, fences: Mapping[str, Diagnostic], path: str = "") -> Branches:
    """Leave out branches, those in branches included.

    Args:
        branches: The branches of a model.
        fences: Why each is left out, by its path from the outermost model.
        path: What stands before the names of the model.
    """
    kept = tuple(
        replace(each, inner=without(each.inner, fences, f"{path}{each.path}/"))
        for each in branches.found
        if path + each.path not in fences
    )
    gone = [
        replace(fences[path + each.path], location=Location(value=each.path))
        for each in branches.found
        if path + each.path in fences
    ]
    return Branches(kept, (*branches.fences, *gone))


def _same(model: Model, path: str) -> Model:
    return model


def analyse_branches(
    graph: DependencyGraph,
    *,
    prepare: Callable[[Model, str], Model] = _same,
    decide: bool | None = None,
    path: str = "",
) -> Branches:
    """Analyse the branches of all Ifs of a model, and those in them.

    Args:
        graph: Of the model around them.
        prepare: What becomes of the model of a branch before it is analysed; called with what
            stands before its names.
        decide: See ``open_branch``; by default whether the model fixes all sizes.
        path: What stands before the names of the model itself.
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
    """Say of a node or value of a branch where it is in the model around it."""
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
    """Name a family of a branch, and all that it names, as in the model around it."""
    return replace(
        family,
        name=f"{path}/{family.name}",
        members=tuple(replace(m, tensor=f"{path}/{m.tensor}") for m in family.members),
        fences=tuple(moved(note, path, model) for note in family.fences),
        inexact=tuple(moved(note, path, model) for note in family.inexact),
        rivals=tuple(f"{path}/{rival}" for rival in family.rivals),
    )


def all_families(graph: DependencyGraph, branches: Branches) -> list[Family]:
    """List the families of a model and of the branches in it."""
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
    """List the fences of a model and of the branches in it."""
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
    """List the layers of a model and of the branches in it, and what each costs."""
    return [
        *layer_costs(graph.model, graph.facts),
        *(
            replace(layer, name=f"{each.path}/{layer.name}")
            for each in branches.found
            for layer in all_layers(each.graph, each.inner)
        ),
    ]
