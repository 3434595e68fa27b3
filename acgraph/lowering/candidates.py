"""All candidates of a layer: every form's drafts, with their constants counted."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from acgraph.lowering.base import Candidate, ConvForm, Draft
from acgraph.lowering.crop import crop, dense
from acgraph.lowering.flat import flat
from acgraph.lowering.fragment import Fragment, Index, Weights, elements
from acgraph.lowering.gather import gather
from acgraph.lowering.layer import ConvLayer, LinearLayer, Lowerable
from acgraph.lowering.linear import linear
from acgraph.lowering.split import split
from acgraph.lowering.transposed import transposed

#: What can be proposed for a Conv; the dense layer comes first.
FORMS: tuple[ConvForm, ...] = (dense, crop, split, gather, flat)

#: Bytes that a node or a constant costs in a file beside its numbers: names, types, shapes.
NODE_BYTES = 120
CONSTANT_BYTES = 50


@dataclass(frozen=True, slots=True)
class Held:
    """Constants that a model has already, so that they cost nothing.

    Attributes:
        indices: ``Index.key`` of integer constants.
        weights: By ``Weights.stem``: the ``Weights.key`` of those of that name.
    """

    indices: Collection[object] = ()
    weights: Mapping[str, Collection[object]] = field(default_factory=dict)

    def holds(self, constant: Weights | Index) -> bool:
        """Return whether a constant is among them."""
        if isinstance(constant, Index):
            return constant.key in self.indices
        # The key is a digest of all numbers: not computed where there is nothing to compare with.
        return constant.stem in self.weights and constant.key in self.weights[constant.stem]


def candidates(layer: Lowerable, held: Held | None = None) -> list[Candidate]:
    """Propose every way to compute a layer; the dense layer is the first.

    Args:
        layer: The layer.
        held: Constants that the model has already.
    """
    held = held or Held()
    if isinstance(layer, ConvLayer):
        drafts = [draft for form in FORMS for draft in form(layer)]
    elif isinstance(layer, LinearLayer):
        drafts = linear(layer)
    else:
        drafts = transposed(layer)
    return [_count(draft, layer, held) for draft in drafts]


def _count(draft: Draft, layer: Lowerable, held: Held) -> Candidate:
    added = [c for c in draft.fragment.constants() if _is_added(c, layer, held)]
    params = sum(elements(constant.values.shape) for constant in added)
    size = sum(int(constant.values.nbytes) + CONSTANT_BYTES for constant in added)
    return Candidate(
        form=draft.form,
        variant=draft.variant,
        fragment=draft.fragment,
        columns=draft.columns,
        params=params,
        size=size + NODE_BYTES * len(draft.fragment.steps),
    )


def _is_added(constant: Weights | Index, layer: Lowerable, held: Held) -> bool:
    if held.holds(constant):
        return False
    if isinstance(constant, Index):
        return True
    # A tied weight stays in the file for its other reader, so that keeping it costs nothing.
    return bool(constant.suffix) or not layer.is_tied


def index_keys(fragment: Fragment) -> set[object]:
    """The keys of a fragment's integer constants."""
    return {c.key for c in fragment.constants() if isinstance(c, Index)}
