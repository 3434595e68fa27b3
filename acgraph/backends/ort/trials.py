"""Which inputs two models are compared on: the sizes of the run, and other sizes that they take."""

from collections.abc import Callable, Iterator, Mapping

from acgraph.backends.ort.bounds import Bounds
from acgraph.backends.ort.evidence import LARGE, Feeds
from acgraph.backends.ort.inputs import TakesInputs, has_dynamic_batch, random_inputs
from acgraph.ir import Array
from acgraph.ir.model import Shape
from acgraph.ir.sizes import open_axes, resized

#: The last random inputs are so many times as large.
_ENLARGED = 10
#: Sizes from this on are made smaller to get others, and smaller ones larger.
_LARGE_SIZE = 224
#: Most networks of images of any size take multiples of this.
_STEP = 32

Shapes = Mapping[str, Shape]


def random_trials(
    session: TakesInputs,
    seeds: int,
    bounds: Bounds,
    can_run: Callable[[Shapes], bool],
) -> Iterator[Feeds]:
    """Yield random inputs; those with a name may be beyond what the reference can do.

    Args:
        session: The reference.
        seeds: How many of the sizes of the run, the last of larger numbers. One more of other
            integers where the network compares some with constants. Where the file leaves sizes
            open, one more of another batch, and one of other sizes: of all at once where
            the model takes that, else of one of them alone.
        bounds: As ``random_inputs`` takes them.
        can_run: Says whether nothing speaks against inputs of such shapes.
    """
    for seed in range(seeds):
        arrays = random_inputs(session, seed=seed, bounds=bounds)
        if 0 < seed == seeds - 1:
            yield LARGE, {name: _enlarged(array) for name, array in arrays.items()}
        else:
            yield "", arrays
    if not seeds:
        return
    told = [name for name, bound in bounds.items() if isinstance(bound, tuple)]
    if told:
        rest = {name: bound for name, bound in bounds.items() if name not in told}
        label = f"another {' and '.join(told)}"
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
    """Return another size that a network which takes one of several is likely to take.

    >>> other_size(224), other_size(320), other_size(48)
    (160, 224, 96)
    """
    return size * 5 // 7 // _STEP * _STEP if size >= _LARGE_SIZE else 2 * size


def _enlarged(array: Array) -> Array:
    """Wake filters whose bias silences them on numbers around 1."""
    return (array * _ENLARGED).astype(array.dtype) if array.dtype.kind == "f" else array
