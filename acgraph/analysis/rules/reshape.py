"""Map the axes of a tensor to those after a reshape, by common factors."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from acgraph.analysis.labels import Axis, Labels, merge
from acgraph.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive input axes that become consecutive output axes.

    Attributes:
        ins: The input axes.
        outs: The output axes.
        atoms: Sizes of the common factors of both sides, outermost first; None where they have none
            (``6 x 4`` to ``8 x 3``).
    """

    ins: tuple[int, ...]
    outs: tuple[int, ...]
    atoms: tuple[int, ...] | None


def blocks(source: Sequence[int], target: Sequence[int]) -> list[Block]:
    """Split a reshape into its smallest independent parts.

    >>> [(b.ins, b.outs, b.atoms) for b in blocks((2, 12, 5), (2, 3, 4, 5))]
    [((0,), (0,), (2,)), ((1,), (1, 2), (3, 4)), ((2,), (3,), (5,))]
    """
    found = []
    i = j = 0
    if 0 in source or 0 in target:
        return [Block(tuple(range(len(source))), tuple(range(len(target))), None)]
    while i < len(source) or j < len(target):
        ins, outs = [], []
        left = right = 1
        if i < len(source):
            ins.append(i)
            left *= source[i]
            i += 1
        if j < len(target):
            outs.append(j)
            right *= target[j]
            j += 1
        while left != right:
            if left < right and i < len(source):
                ins.append(i)
                left *= source[i]
                i += 1
            elif left > right and j < len(target):
                outs.append(j)
                right *= target[j]
                j += 1
            else:
                return [Block(tuple(range(len(source))), tuple(range(len(target))), None)]
        sizes_in, sizes_out = [source[k] for k in ins], [target[k] for k in outs]
        found.append(Block(tuple(ins), tuple(outs), _atoms(sizes_in, sizes_out)))
    return found


def _atoms(source: Sequence[int], target: Sequence[int]) -> tuple[int, ...] | None:
    cuts = sorted({*_products(source), *_products(target)})
    atoms = []
    for low, high in pairwise(cuts):
        if low == 0 or high % low:
            return None
        atoms.append(high // low)
    return tuple(reversed(atoms))


def _products(sizes: Sequence[int]) -> list[int]:
    """Return the cumulative products from the innermost axis, starting with 1."""
    products = [1]
    for size in reversed(sizes):
        products.append(products[-1] * size)
    return products


def _take_atoms(sizes: Sequence[int], atoms: Sequence[int]) -> list[list[int]]:
    """Return the indices of the atoms of each axis; none for an axis of size 1."""
    rest = list(range(len(atoms)))
    taken: list[list[int]] = []
    for size in sizes:
        mine: list[int] = []
        product = 1
        while product < size:
            mine.append(rest.pop(0))
            product *= atoms[mine[-1]]
        taken.append(mine)
    return taken


def reshape_axes(
    labels: Labels,
    source: Sequence[int],
    target: Sequence[int],
    axes: Sequence[Axis],
    zero: Sequence[bool],
    why: Diagnostic,
) -> tuple[list[Axis], list[bool]]:
    """Return the labels and zero flags of the target axes.

    Axes without common factors are fenced with ``why``.
    """
    out: list[Axis] = [None] * len(target)
    flags = [False] * len(target)
    for block in blocks(source, target):
        if all(axes[i] is None for i in block.ins):
            continue
        if block.atoms is None:
            for i in block.ins:
                labels.fence(axes[i], why)
            continue
        atoms: list[Axis] = [None] * len(block.atoms)
        for i, mine in zip(
            block.ins, _take_atoms([source[i] for i in block.ins], block.atoms), strict=True
        ):
            if len(mine) == 1:
                atoms[mine[0]] = axes[i]
            elif mine:
                parts = labels.split(axes[i], [block.atoms[a] for a in mine], why)
                for atom, part in zip(mine, parts, strict=True):
                    atoms[atom] = part
        flag = all(zero[i] for i in block.ins if axes[i] is not None)
        sizes_out = [target[j] for j in block.outs]
        for j, mine in zip(block.outs, _take_atoms(sizes_out, block.atoms), strict=True):
            out[j] = merge([atoms[a] for a in mine], [block.atoms[a] for a in mine])
            flags[j] = flag and out[j] is not None
    return out, flags
