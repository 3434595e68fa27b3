import numpy as np
import pytest

INT_MAX = 2**63 - 1


def both_ways(compare, op, feeds, numbers, **kwargs):
    """Check with the numbers as constants, and as inputs that are known only when running."""
    compare(op, feeds, numbers, order=[*feeds, *numbers], **kwargs)
    compare(op, {**feeds, **numbers}, order=[*feeds, *numbers], **kwargs)


@pytest.mark.parametrize("shape", [[6, 4], [-1], [2, -1, 2], [0, 12], [0, 0, -1, 2]])
def test_reshape(compare, normal, shape):
    both_ways(compare, "Reshape", {"x": normal(2, 3, 4)}, {"shape": np.array(shape)})


def test_reshape_keeps_zero(compare, normal):
    x, shape = {"x": np.zeros((0, 3), np.float32)}, {"shape": np.array([3, 0])}
    both_ways(compare, "Reshape", x, shape, allowzero=1)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_flatten(compare, normal, axis):
    compare("Flatten", {"x": normal(2, 3, 4)}, axis=axis)


@pytest.mark.parametrize("perm", [[0, 2, 1], [2, 0, 1], None])
def test_transpose(compare, normal, perm):
    compare("Transpose", {"x": normal(2, 3, 4)}, **({} if perm is None else {"perm": perm}))


@pytest.mark.parametrize("axes", [[0], [0, 2], [-3]])
def test_squeeze_and_unsqueeze(compare, normal, axes):
    x = {"x": normal(1, 3, 1, 4) if axes != [-3] else normal(2, 1, 3, 4)}
    both_ways(compare, "Squeeze", x, {"axes": np.array(axes)})
    both_ways(compare, "Unsqueeze", x, {"axes": np.array(axes)})
    compare("Squeeze", x, opset=11, axes=axes)
    compare("Unsqueeze", x, opset=11, axes=[a % 4 for a in axes])


def test_squeeze_all(compare, normal):
    compare("Squeeze", {"x": normal(1, 3, 1, 4)})


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat(compare, normal, axis):
    shapes = [[2, 3, 4], [2, 3, 4]]
    shapes[1][axis] = 5
    compare("Concat", {"a": normal(*shapes[0]), "b": normal(*shapes[1])}, axis=axis)


def test_split(compare, normal):
    x = {"x": normal(7, 4)}
    both_ways(compare, "Split", x, {"split": np.array([2, 5])}, outputs=2, axis=0)
    compare("Split", x, outputs=3, num_outputs=3, axis=0)
    compare("Split", {"x": normal(4, 4)}, outputs=3, num_outputs=3, axis=0)  # the last is empty
    compare("Split", {"x": normal(6, 4)}, outputs=3, opset=11, axis=0)
    compare("Split", x, outputs=2, opset=11, axis=0, split=[3, 4])


@pytest.mark.parametrize(
    "numbers",
    [
        {"starts": [1], "ends": [3]},
        {"starts": [0, -3], "ends": [INT_MAX, -1], "axes": [0, 2]},
        {"starts": [0], "ends": [INT_MAX], "axes": [-1], "steps": [2]},
        {"starts": [-1], "ends": [-INT_MAX], "axes": [1], "steps": [-1]},
        {"starts": [5, 1], "ends": [0, 9], "axes": [2, 1], "steps": [-2, 3]},
    ],
)
def test_slice(compare, normal, numbers):
    arrays = {name: np.array(value) for name, value in numbers.items()}
    both_ways(compare, "Slice", {"x": normal(4, 5, 6)}, arrays)


def test_slice_of_opset_9(compare, normal):
    compare("Slice", {"x": normal(4, 5)}, opset=9, starts=[1, -2], ends=[3, 100], axes=[0, 1])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [[0, 1, 2, 3, 0, 2, 1, 0], [0, 0, 1, 0, 0, 0, 0, 2]])
def test_pad(compare, normal, mode, pads):
    constants = {"pads": np.array(pads)}
    both_ways(compare, "Pad", {"x": normal(2, 3, 4, 5)}, constants, mode=mode)


def test_pad_with_value_and_axes(compare, normal):
    constants = {
        "pads": np.array([1, 0, 2, 3]),
        "value": np.array(1.5, np.float32),
        "axes": np.array([-1, 1]),
    }
    compare("Pad", {"x": normal(2, 3, 4)}, constants)


def test_pad_crops(compare, normal):
    compare("Pad", {"x": normal(2, 3, 6)}, {"pads": np.array([0, 0, -1, 0, 1, -2])})


def test_pad_of_opset_2(compare, normal):
    compare("Pad", {"x": normal(2, 3)}, opset=10, pads=[0, 1, 2, 0], value=2.0)


@pytest.mark.parametrize("shape", [[2, 3, 4], [5, 1, 3, 1], [4]])
def test_expand(compare, normal, shape):
    both_ways(compare, "Expand", {"x": normal(3, 1)}, {"shape": np.array(shape)})


def test_tile(compare, normal):
    both_ways(compare, "Tile", {"x": normal(2, 3)}, {"repeats": np.array([2, 3])})


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(compare, normal, mode):
    compare("DepthToSpace", {"x": normal(2, 8, 3, 4)}, blocksize=2, mode=mode)


def test_space_to_depth(compare, normal):
    compare("SpaceToDepth", {"x": normal(2, 3, 4, 6)}, blocksize=2)


@pytest.mark.parametrize("upper", [0, 1])
def test_trilu(compare, normal, upper):
    compare("Trilu", {"x": normal(2, 4, 5)}, {"k": np.array(1)}, upper=upper)


@pytest.mark.parametrize("index", [2, [2], [0, 3, 1], [-1, 1], [[0, 1], [-2, 3]]])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather(compare, normal, index, axis):
    both_ways(compare, "Gather", {"x": normal(4, 4, 4)}, {"i": np.array(index)}, axis=axis)


def test_gather_elements(compare, normal):
    index = np.array([[0, -1, 2], [1, 1, 0]])
    both_ways(compare, "GatherElements", {"x": normal(3, 3)}, {"i": index}, axis=0)


@pytest.mark.parametrize("batch_dims", [0, 1])
def test_gather_nd(compare, normal, batch_dims):
    index = np.array([[[0, 1], [1, 2]], [[1, 0], [0, 2]]])
    x = {"x": normal(2, 3, 4) if batch_dims == 0 else normal(2, 3, 4, 2)}
    both_ways(compare, "GatherND", x, {"i": index}, batch_dims=batch_dims)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_elements(compare, normal, reduction):
    feeds = {"x": normal(3, 4), "i": np.array([[0, 2], [-1, 1], [3, 0]]), "u": normal(3, 2)}
    compare("ScatterElements", feeds, axis=1, reduction=reduction)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_nd(compare, normal, reduction):
    index = np.array([[0], [2]] if reduction == "none" else [[0], [2], [0]])
    feeds = {"x": normal(4, 3), "i": index, "u": normal(len(index), 3)}
    compare("ScatterND", feeds, reduction=reduction)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot(compare, axis):
    constants = {"depth": np.array(4), "values": np.array([-1, 2], np.float32)}
    compare("OneHot", {"i": np.array([[0, 3], [-1, 1]])}, constants, axis=axis)


def test_non_zero(compare):
    compare("NonZero", {"x": np.array([[0, 1], [2, 0]], np.float32)})


@pytest.mark.parametrize("axis", [None, 0])
def test_compress(compare, normal, axis):
    constants = {"c": np.array([False, True, True])}
    compare("Compress", {"x": normal(3, 2)}, constants, **({} if axis is None else {"axis": axis}))


def test_shape_and_size(compare, normal):
    compare("Shape", {"x": normal(2, 3, 4)})
    compare("Shape", {"x": normal(2, 3, 4)}, start=1, end=-1)
    compare("Size", {"x": normal(2, 3, 4)})


def test_eye_like(compare, normal):
    compare("EyeLike", {"x": normal(3, 4)}, k=1)


def test_range(compare):
    feeds = {name: np.array(value) for name, value in (("a", 1), ("b", 9), ("c", 3))}
    compare("Range", feeds)


def test_constant_of_shape(compare):
    compare("ConstantOfShape", {"shape": np.array([2, 3])})
