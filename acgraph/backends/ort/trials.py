"""Random inputs for the equivalence check, of the usual sizes and of other sizes."""

from collections.abc import Callable, Iterator, Mapping

from acgraph.backends.ort.bounds import Bounds
from acgraph.backends.ort.evidence import LARGE, Feeds
from acgraph.backends.ort.inputs import HasInputs, has_dynamic_batch, random_inputs
from acgraph.ir import Array
from acgraph.ir.model import Shape
from acgraph.ir.sizes import open_axes, resized

#: Factor of the values of the last random inputs.
_ENLARGED = 10
#: To get another size, sizes from this on are reduced, and smaller ones are doubled.
_LARGE_SIZE = 224
#: Image sizes that are multiples of this suit most networks with dynamic image sizes.
_STEP = 32

Shapes = Mapping[str, Shape]


def random_trials(
    session: HasInputs,
    seeds: int,
    bounds: Bounds,
    can_run: Callable[[Shapes], bool],
) -> Iterator[Feeds]:
    """Yield random inputs with their labels; the reference may fail on inputs with a label.

    After the inputs of the usual sizes, there is one set with other integers, if the network
    compares some with constants. If the file has dynamic sizes, there is one set with another batch
    size, and one with other sizes: all of them changed, or only one if the model requires that.

    Args:
        session: The reference.
        seeds: Number of sets of the usual sizes, of which the last has larger values; 0 yields
            nothing.
        bounds: Valid values of integer inputs, see ``random_inputs``.
        can_run: Whether the model can probably run inputs of these shapes.
    """
    for seed in range(seeds):
        arrays = random_inputs(session, seed=seed, bounds=bounds)
        if 0 < seed == seeds - 1:
            yield LARGE, {name: _enlarged(array) for name, array in arrays.items()}
        else:
            yield "", arrays
    if not seeds:
        return
    listed = [name for name, bound in bounds.items() if isinstance(bound, tuple)]
    if listed:
        rest = {name: bound for name, bound in bounds.items() if name not in listed}
        label = f"another {' and '.join(listed)}"
        yield label, random_inputs(session, seed=seeds, bounds=rest)
    found = open_axes(session.declared, session.sizes.shapes)
    if has_dynamic_batch(session):
        batch = next((axis.size for axis in found.values() if axis.is_batch), 1) + 1
        yield f"batch {batch}", random_inputs(session, seed=seeds, batch=batch, bounds=bounds)
    others = {name: other_size(axis.size) for name, axis in found.items() if not axis.is_batch}
    if not others:
        return
    alone = [{name: size} for name, size in others.items()] if len(others) > 1 else []
    tried = [resized(session.declared, session.sizes.shapes, sizes) for sizes in (others, *alone)]
    shapes = next(filter(can_run, tried), tried[0])
    changed = [shape for name, shape in shapes.items() if shape != session.sizes.shapes[name]]
    label = "an input of " + ", ".join("x".join(map(str, shape)) for shape in changed)
    yield label, random_inputs(session, seed=seeds, shapes=shapes, bounds=bounds)


def other_size(size: int) -> int:
    """Return another size that a network with dynamic sizes can probably run.

    >>> other_size(224), other_size(320), other_size(48)
    (160, 224, 96)
    """
    return size * 5 // 7 // _STEP * _STEP if size >= _LARGE_SIZE else 2 * size


def _enlarged(array: Array) -> Array:
    """Enlarge the values, to activate filters whose bias suppresses inputs around 1."""
    return (array * _ENLARGED).astype(array.dtype) if array.dtype.kind == "f" else array
