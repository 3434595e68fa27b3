"""The Attention operator of opset 23."""

import torch
import torch.nn.functional as F

from acgraph.backends.torch.ops.node import Builder, Kernel, NodeView

Tensor = torch.Tensor


def _heads(x: Tensor, count: int) -> Tensor:
    """Split ``[batch, length, heads * size]`` into ``[batch, heads, length, size]``."""
    return x.reshape(*x.shape[:2], count, -1).transpose(1, 2) if x.ndim == 3 else x


def _attention(node: NodeView) -> Kernel:
    if any(node.has(i) for i in (4, 5, 6)):
        raise node.unsupported("a key-value cache")
    if node.real("softcap", 0.0):
        raise node.unsupported("softcap")
    causal = bool(node.integer("is_causal", 0))
    scale = node.node.attrs.get("scale")
    query_heads, key_heads = node.integer("q_num_heads", 0), node.integer("kv_num_heads", 0)

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        flat = q.ndim == 3
        q, k, v = _heads(q, query_heads), _heads(k, key_heads), _heads(v, key_heads)
        if causal:
            visible = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
            mask = visible if mask is None else _combine(mask, visible)
        shared = q.shape[1] != k.shape[1]
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, scale=scale, enable_gqa=shared
        )
        return out.transpose(1, 2).flatten(2) if flat else out

    return node.with_unused_outputs(attend)


def _combine(mask: Tensor, visible: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return mask & visible
    return mask.masked_fill(~visible, -torch.inf)


TABLE: dict[str, Builder] = {"Attention": _attention}
