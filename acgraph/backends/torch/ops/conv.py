"""Conv and ConvTranspose in one, two and three dimensions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView

_CONV = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
_CONV_TRANSPOSE = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}

#: With fewer channels, the gradient of a strided 1x1 convolution in channels-last layout on a CPU
#: writes outside of its memory in torch 2.13, and the process crashes.
_FEW_CHANNELS = 8

_Sizes = int | tuple[int, ...]


def same_pads(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    *,
    upper: bool,
) -> tuple[int, ...]:
    """Return the ONNX pads (begins, then ends) for ``auto_pad`` SAME_UPPER or SAME_LOWER."""
    begins, ends = [], []
    for size, width, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        out = -(-size // stride)
        total = max(0, (out - 1) * stride + (width - 1) * dilation + 1 - size)
        small, large = total // 2, total - total // 2
        begins.append(small if upper else large)
        ends.append(large if upper else small)
    return (*begins, *ends)


def torch_pads(pads: Sequence[int]) -> list[int]:
    """Convert ONNX pads (begins, then ends) to those of ``F.pad`` (last axis first, in pairs)."""
    rank = len(pads) // 2
    return [p for axis in reversed(range(rank)) for p in (pads[axis], pads[rank + axis])]


def _conv(node: NodeView) -> Kernel:
    groups = node.integer("group", 1)
    strides, dilations = node.ints("strides") or (1,), node.ints("dilations") or (1,)
    auto = node.text("auto_pad", "NOTSET")
    pads = node.ints("pads") or (0, 0)
    if auto not in ("NOTSET", "VALID"):
        return _conv_same(strides, dilations, groups, upper=auto == "SAME_UPPER")
    if auto == "VALID":
        pads = (0, 0)
    half = len(pads) // 2
    stride, dilation = _spread(strides), _spread(dilations)
    if pads[:half] == pads[half:]:
        padding = _spread(pads[:half])

        def conv(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
            return _convolve(x, w, b, stride, padding, dilation, groups)

        return conv
    explicit = torch_pads(pads)

    def conv_padded(
        x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None
    ) -> torch.Tensor:
        return _convolve(F.pad(x, explicit), w, b, stride, 0, dilation, groups)

    return conv_padded


def _convolve(
    x: torch.Tensor,
    w: torch.Tensor,
    b: torch.Tensor | None,
    stride: _Sizes,
    padding: _Sizes,
    dilation: _Sizes,
    groups: int,
) -> torch.Tensor:
    """Convolve; where PyTorch would crash, slice the input by the strides first instead."""
    rank = w.ndim - 2
    steps = (stride,) * rank if isinstance(stride, int) else stride
    if w.shape[1] >= _FEW_CHANNELS or max(w.shape[2:]) > 1 or max(steps) == 1:
        return _CONV[w.ndim](x, w, b, stride, padding, dilation, groups)
    pads = (padding,) * rank if isinstance(padding, int) else padding
    padded = F.pad(x, torch_pads((*pads, *pads))) if any(pads) else x
    points = padded[(slice(None), slice(None), *(slice(None, None, step) for step in steps))]
    return _CONV[w.ndim](points, w, b, 1, 0, 1, groups)


def _spread(numbers: tuple[int, ...]) -> _Sizes:
    """Return a single number as an int, which PyTorch applies to all axes."""
    return numbers[0] if len(numbers) == 1 else numbers


def _conv_same(
    strides: tuple[int, ...], dilations: tuple[int, ...], groups: int, *, upper: bool
) -> Kernel:
    def conv(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        rank = w.ndim - 2
        stride = strides if len(strides) == rank else strides * rank
        dilation = dilations if len(dilations) == rank else dilations * rank
        pads = same_pads(x.shape[2:], w.shape[2:], stride, dilation, upper=upper)
        padded = F.pad(x, torch_pads(pads)) if any(pads) else x
        return _convolve(padded, w, b, stride, 0, dilation, groups)

    return conv


def _conv_transpose(node: NodeView) -> Kernel:
    groups = node.integer("group", 1)
    strides, dilations = node.ints("strides"), node.ints("dilations")
    extra = node.ints("output_padding")
    auto, given = node.text("auto_pad", "NOTSET"), node.ints("pads")
    shape = node.ints("output_shape")

    def conv(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        rank = w.ndim - 2
        ones = (1,) * rank
        stride, dilation = strides or ones, dilations or ones
        out_extra = extra or (0,) * rank
        pads = transpose_pads(
            x.shape[2:], w.shape[2:], stride, dilation, out_extra, shape, auto, given
        )
        half = pads[:rank]
        if half == pads[rank:] and all(p >= 0 for p in pads):
            return _CONV_TRANSPOSE[w.ndim](x, w, b, stride, half, out_extra, groups, dilation)
        # Asymmetric pads: compute without padding, then crop (or extend) the borders.
        full = _CONV_TRANSPOSE[w.ndim](x, w, b, stride, 0, out_extra, groups, dilation)
        return F.pad(full, torch_pads([-p for p in pads]))

    return conv


def transpose_pads(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    extra: Sequence[int],
    wanted: Sequence[int] | None,
    auto: str,
    given: tuple[int, ...] | None,
) -> tuple[int, ...]:
    """Return the pads of a ConvTranspose (begins, then ends), by the rules of ONNX.

    They follow from the output shape if it is given, otherwise from ``auto_pad`` if it is set;
    otherwise they are the attribute ``pads``.

    Args:
        sizes: Spatial sizes of the input.
        kernel: Spatial sizes of the kernel.
        strides: Strides.
        dilations: Dilations.
        extra: The attribute ``output_padding``.
        wanted: The attribute ``output_shape``, if given.
        auto: The attribute ``auto_pad``.
        given: The attribute ``pads``, if given.
    """
    if wanted is None and auto.startswith("SAME"):
        wanted = tuple(size * s for size, s in zip(sizes, strides, strict=True))
    if wanted is None:
        return given if given is not None and auto == "NOTSET" else (0,) * (2 * len(sizes))
    begins, ends = [], []
    for i, target in enumerate(wanted[-len(sizes) :]):
        full = strides[i] * (sizes[i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1
        total = full - target
        small = total // 2
        begin = small if auto == "SAME_UPPER" else total - small
        begins.append(begin)
        ends.append(total - begin)
    return (*begins, *ends)


TABLE: dict[str, Builder] = {"Conv": _conv, "ConvTranspose": _conv_transpose}
