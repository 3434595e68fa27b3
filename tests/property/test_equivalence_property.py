"""Random small graphs, random plans: the equivalence, partitions, costs, and a second cut."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acgraph.analysis.dependency import DependencyGraph
from acgraph.ir import count_params
from acgraph.pruning.plan import Plan, kept_positions
from acgraph.pruning.select import choose_families

#: An operator, and two numbers that choose its operands and sizes.
Step = tuple[str, int, int]

SIZE = 6
CHANNELS = (4, 6, 8, 12)


class Grower:
    """Grows a graph of images ``[2, C, 6, 6]``; every step adds one tensor to choose from."""

    def __init__(self, net: Any) -> None:
        self.net = net
        x = net.input(2, 3, SIZE, SIZE)
        self.made: list[tuple[str, int]] = [(net.conv(x, 3, 8), 8), (net.conv(x, 3, 6), 6)]

    def grow(self, step: Step) -> None:
        op, a, b = step
        x, c = self.made[a % len(self.made)]
        other = self.made[b % len(self.made)]
        self.made.append(getattr(self, op)(x, c, b, other))

    def conv(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        o = CHANNELS[b % 4]
        return self.net.conv(x, c, o, (1, 3)[b % 2]), o

    def depthwise(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        o = c * (1 + b % 2)
        return self.net.conv(x, c, o, group=c), o

    def grouped(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        return self.net.conv(x, c, c, group=2 - c % 2), c

    def norm(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        return self.net.bn(x, c), c

    def relu(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        op = ("Relu", "Sigmoid", "Tanh", "HardSwish", "Neg", "Exp")[b % 6]
        x = x if op != "Exp" else self.net.op("Tanh", x)
        return self.net.op(op, x), c

    def add(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        y, d = other
        if d != c:
            y = self.net.conv(y, d, c, 1)
        return self.net.op(("Add", "Mul", "Sub", "Max")[b % 4], x, y), c

    def scale(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        op = ("Add", "Mul", "Div")[b % 3]
        return self.net.op(op, x, self.net.positive(c, 1, 1)), c

    def concat(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        if c + other[1] > 24:
            return self.relu(x, c, b, other)
        return self.net.op("Concat", x, other[0], axis=1), c + other[1]

    def split(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        if c < 2:
            return self.relu(x, c, b, other)
        left = 1 + b % (c - 1)
        y, z = self.net.op("Split", x, self.net.ints(left, c - left), outputs=2, axis=1)
        self.made.append((z, c - left))
        return y, left

    def slice(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        start = b % c
        ends = self.net.ints(c if b % 2 else 1 << 40)
        return self.net.op("Slice", x, self.net.ints(start), ends, self.net.ints(1)), c - start

    def pad(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        begin, end = b % 3, b % 2
        pads = self.net.ints(0, begin, 0, 0, 0, end, 0, 0)
        return self.net.op("Pad", x, pads), c + begin + end

    def permute(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        index = np.random.default_rng(b).permutation(c)
        return self.net.op("Gather", x, self.net.const(index), axis=1), c

    def shuffle(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        if c % 2:
            return self.relu(x, c, b, other)
        x = self.net.op("Reshape", x, self.net.ints(0, 2, c // 2, SIZE, SIZE))
        x = self.net.op("Transpose", x, perm=[0, 2, 1, 3, 4])
        return self.net.op("Reshape", x, self.net.ints(0, -1, SIZE, SIZE)), c

    def excite(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        s = self.net.op("ReduceMean", x, axes=[2, 3], keepdims=1)
        s = self.net.op("Relu", self.net.conv(s, c, 4, 1))
        return self.net.op("Mul", x, self.net.op("Sigmoid", self.net.conv(s, 4, c, 1))), c

    def tokens(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        """A layer on tokens: Reshape, Transpose, MatMul, and back."""
        o, positions = CHANNELS[b % 4], SIZE * SIZE
        x = self.net.op("Reshape", x, self.net.ints(2, c, positions))
        x = self.net.op("MatMul", self.net.op("Transpose", x, perm=[0, 2, 1]), self.net.w(c, o))
        x = self.net.op("Transpose", self.net.op("Add", x, self.net.w(o)), perm=[0, 2, 1])
        return self.net.op("Reshape", x, self.net.ints(0, 0, SIZE, SIZE)), o

    def attend(self, x: str, c: int, b: int, other: tuple[str, int]) -> tuple[str, int]:
        heads, each = 2, (2, 4)[b % 2]
        net, width, positions = self.net, 2 * (2, 4)[b % 2], SIZE * SIZE
        x = net.op("Transpose", net.op("Reshape", x, net.ints(2, c, positions)), perm=[0, 2, 1])
        q, k, v = (
            net.op("Reshape", net.op("MatMul", x, net.w(c, width)), net.ints(2, -1, heads, each))
            for _ in range(3)
        )
        q, v = (net.op("Transpose", y, perm=[0, 2, 1, 3]) for y in (q, v))
        a = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 3, 1]))
        y = net.op("MatMul", net.op("Softmax", a, axis=-1), v)
        y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints(2, -1, width))
        y = net.op("Transpose", net.op("MatMul", y, net.w(width, c)), perm=[0, 2, 1])
        return net.op("Reshape", y, net.ints(2, c, SIZE, SIZE)), c

    def finish(self, flatten: bool) -> Any:
        """End in a classifier, so that the last tensor can be cut."""
        x, c = self.made[-1]
        if flatten:
            return self.net.proto(self.net.gemm(self.net.op("Flatten", x), c * SIZE * SIZE, 3))
        x = self.net.op("Flatten", self.net.op("GlobalAveragePool", x))
        return self.net.proto(self.net.gemm(x, c, 3))


OPS = (
    "conv", "depthwise", "grouped", "norm", "relu", "add", "scale", "concat", "split", "slice",
    "pad", "permute", "shuffle", "excite", "tokens", "attend",
)  # fmt: skip
steps = st.lists(
    st.tuples(st.sampled_from(OPS), st.integers(0, 11), st.integers(0, 23)), min_size=1, max_size=9
)


def random_plan(seed: int) -> Callable[[DependencyGraph], Plan]:
    """Choose a random subset of the sets of some families; every family keeps one.

    Of two rivals both are cut where that leaves something, else the finer one.
    """

    def choose(dependency: DependencyGraph) -> Plan:
        rng = np.random.default_rng(seed)
        free = dependency.prunable()
        sets = {}
        for family in free:
            gone = rng.random(family.size) < rng.choice([0.0, 0.3, 0.7, 1.0])
            gone[rng.integers(family.size)] = False
            if gone.any():
                sets[family.name] = gone
        plan = Plan(sets=sets)
        if all(
            k.any() for axes in kept_positions(dependency, plan).values() for k in axes.values()
        ):
            return plan
        chosen = {family.name for family in choose_families(free)}
        return Plan(sets={name: gone for name, gone in sets.items() if name in chosen})

    return choose


def check_partition(dependency: DependencyGraph) -> None:
    """A coupled set has one family; a position is in one set of each family that covers it."""
    owners: dict[int, str] = {}
    for name, own in dependency.labels.items():
        for label in own.tolist():
            assert owners.setdefault(label, name) == name
    for family in dependency.families:
        for member in family.members:
            assert member.sets.max() < family.size
            size = dependency.facts.shapes[member.tensor][member.axis]
            assert len(member.sets) == size
        covered = {int(s) for m in family.members for s in m.sets if s >= 0}
        assert covered == set(range(family.size))


def check_kept(dependency: DependencyGraph, plan: Plan) -> None:
    """What is deleted is what the members of the plan's families say, no more and no less."""
    kept = kept_positions(dependency, plan)
    gone: dict[tuple[str, int], np.ndarray] = {}
    for family in dependency.families:
        removed = plan.sets.get(family.name)
        if removed is None:
            continue
        for m in family.members:
            lost = (m.sets >= 0) & removed[m.sets]
            key = (m.tensor, m.axis)
            gone[key] = gone.get(key, np.zeros(len(lost), bool)) | lost
    for (tensor, axis), lost in gone.items():
        expected = kept.get(tensor, {}).get(axis, np.ones(len(lost), bool))
        assert np.array_equal(expected, ~lost)


def check_all(make_net: Any, check_equivalence: Any, plan: tuple[list[Step], bool, int]) -> None:
    chosen, flatten, seed = plan
    grower = Grower(make_net(seed=seed))
    for step in chosen:
        grower.grow(step)
    first = check_equivalence(grower.finish(flatten), plan=random_plan(seed))
    check_partition(first.dependency)
    check_kept(first.dependency, first.plan)
    assert count_params(first.after) <= count_params(first.before) + 16
    second = check_equivalence(first.after, plan=random_plan(seed + 1))
    assert count_params(second.after) <= count_params(first.after) + 16


cases = st.tuples(steps, st.booleans(), st.integers(0, 1 << 16))


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=cases)
def test_any_plan_on_any_graph_passes_the_equivalence_check(
    make_net: Any, check_equivalence: Any, case: Any
) -> None:
    check_all(make_net, check_equivalence, case)


@pytest.mark.slow
@settings(
    max_examples=600,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=cases)
def test_many_plans_on_many_graphs_pass_the_equivalence_check(
    make_net: Any, check_equivalence: Any, case: Any
) -> None:
    check_all(make_net, check_equivalence, case)
