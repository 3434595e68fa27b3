"""All candidates of a layer: the drafts of every form, with the cost of their constants."""

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

#: The forms of a Conv; the dense layer comes first.
FORMS: tuple[ConvForm, ...] = (dense, crop, split, gather, flat)

#: Bytes of a node or a constant in a file without its values: names, types, shapes.
NODE_BYTES = 120
CONSTANT_BYTES = 50


@dataclass(frozen=True, slots=True)
class StoredConstants:
    """Constants that the model already stores, which a candidate can reuse at no cost.

    Attributes:
        indices: ``Index.key`` of integer constants.
        weights: The ``Weights.key`` of weights, by ``Weights.stem``.
    """

    indices: Collection[object] = ()
    weights: Mapping[str, Collection[object]] = field(default_factory=dict)

    def __contains__(self, constant: Weights | Index) -> bool:
        if isinstance(constant, Index):
            return constant.key in self.indices
        # The key is a digest of all values: it is computed only where the name occurs.
        return constant.stem in self.weights and constant.key in self.weights[constant.stem]


def candidates(layer: Lowerable, stored: StoredConstants | None = None) -> list[Candidate]:
    """Return every implementation of a layer; the dense layer is the first.

    Args:
        layer: The layer.
        stored: Constants that the model already stores.
    """
    stored = stored or StoredConstants()
    if isinstance(layer, ConvLayer):
        drafts = [draft for form in FORMS for draft in form(layer)]
    elif isinstance(layer, LinearLayer):
        drafts = linear(layer)
    else:
        drafts = transposed(layer)
    return [_with_cost(draft, layer, stored) for draft in drafts]


def _with_cost(draft: Draft, layer: Lowerable, stored: StoredConstants) -> Candidate:
    added = [c for c in draft.fragment.constants() if _is_added(c, layer, stored)]
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


def _is_added(constant: Weights | Index, layer: Lowerable, stored: StoredConstants) -> bool:
    if constant in stored:
        return False
    if isinstance(constant, Index):
        return True
    # A tied weight stays in the file for its other consumer, so reusing it costs nothing.
    return bool(constant.suffix) or not layer.is_tied


def index_keys(fragment: Fragment) -> set[object]:
    """Return the keys of the integer constants of a fragment."""
    return {c.key for c in fragment.constants() if isinstance(c, Index)}
