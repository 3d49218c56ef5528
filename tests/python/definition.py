"""What fovea.attend computes, in plain tensor operations: the oracle of the tests here."""

import math

import torch


def hidden_pairs(
    n, m, *, causal=False, window=None, key_lengths=None, segment_ids=None, block_mask=None, mask=None
):
    """True where query i may not see key j, broadcastable to (B, H, N, M)."""
    i, j = torch.arange(n)[:, None], torch.arange(m)[None, :]
    hidden = torch.zeros(1, 1, n, m, dtype=torch.bool)
    if causal:
        hidden = hidden | (j > i + (m - n if causal == "bottom_right" else 0))
    left, right = window or (None, None)
    if left is not None:
        hidden = hidden | (j < i - left)
    if right is not None:
        hidden = hidden | (j > i + right)
    if key_lengths is not None:
        hidden = hidden | (j >= key_lengths.view(-1, 1, 1, 1))
    if segment_ids is not None:
        hidden = hidden | (segment_ids[0][:, None, :, None] != segment_ids[1][:, None, None, :])
    if block_mask is not None:
        blocks, size = block_mask
        hidden = hidden | ~blocks[:, :, i // size, j // size]
    if mask is not None:
        hidden = hidden | ~mask
    return hidden


def scores_of(q, k, *, scale=None, softcap=None, alibi_slopes=None, relative_table=None, bias=None):
    scores = (q @ k.transpose(2, 3)) * (1 / math.sqrt(q.shape[3]) if scale is None else scale)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    apart = torch.arange(k.shape[2])[None, :] - torch.arange(q.shape[2])[:, None]
    if alibi_slopes is not None:
        scores = scores - alibi_slopes[..., None, None] * apart.abs()
    if relative_table is not None:
        furthest = relative_table.shape[1] // 2
        scores = scores + relative_table[:, furthest + apart.clamp(-furthest, furthest)]
    return scores if bias is None else scores + bias


def weights_of(q, k, *, scale=None, softcap=None, alibi_slopes=None, relative_table=None, bias=None, **pairs):
    """(B, H, N, M); rows without a key are 0. Heads of k are repeated to those of q."""
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    scores = scores_of(
        q, k, scale=scale, softcap=softcap, alibi_slopes=alibi_slopes, relative_table=relative_table, bias=bias
    )
    hidden = hidden_pairs(q.shape[2], k.shape[2], **pairs)
    empty = hidden.all(-1, keepdim=True)
    return scores.masked_fill(hidden & ~empty, -torch.inf).softmax(-1).masked_fill(empty, 0.0)


def lse_of(q, k, *, causal=False, softcap=None):
    scores = scores_of(q, k, softcap=softcap)
    return scores.masked_fill(hidden_pairs(q.shape[2], k.shape[2], causal=causal), -torch.inf).logsumexp(-1)


def attention(q, k, v, *, enable_gqa=False, **arguments):
    v = v.repeat_interleave(q.shape[1] // v.shape[1], 1)
    return weights_of(q, k, **arguments) @ v


def in_double(value):
    """The same with float64 for each floating point tensor, still in the graph."""
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() else value
    return tuple(in_double(v) for v in value) if isinstance(value, tuple) else value


def random_operands(n, m, *, batch=2, heads=2, kv_heads=None, d=16, dv=None, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    kv_heads = kv_heads or heads
    shapes = [(batch, heads, n, d), (batch, kv_heads, m, d), (batch, kv_heads, m, dv or d)]
    return [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in shapes]
