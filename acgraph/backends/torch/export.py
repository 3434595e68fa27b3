"""Write the weights of a trained PyTorch module back into the ONNX graph."""

from acgraph.backends.torch.graph_module import GraphModule
from acgraph.diagnostics import Location
from acgraph.errors import BackendError
from acgraph.ir import Model, clone_model, is_same, replace_constants
from acgraph.passes.untie_constants import untie_constants


def export_model(module: GraphModule, model: Model) -> Model:
    """Return a clone of the model with the module's weights.

    Only constants that have changed are replaced, so that an untrained module yields the same
    tensors. A constant that the exporter merged is split if its uses now have different values.

    Args:
        module: The trained module.
        model: The model from which the module was made.

    Raises:
        BackendError: The model lacks a constant of the module, or it has another shape.
    """
    weights = module.weights()
    result = clone_model(model)
    ties = untie_constants(clone_model(model))
    split = {
        fresh
        for fresh, origin in ties.items()
        if fresh in weights and not is_same(weights[fresh], weights.get(origin, weights[fresh]))
    }
    untie_constants(result, split)
    merged = set(ties) - split
    before = result.constants()
    changed = {}
    for name, value in weights.items():
        if name in merged:
            continue
        if name not in before or before[name].shape != value.shape:
            raise BackendError(
                "the module was made from another model: no such constant",
                location=Location(model=model.source, value=name),
            )
        if not is_same(before[name], value):
            changed[name] = value.astype(before[name].dtype)
    replace_constants(result, changed)
    return result
