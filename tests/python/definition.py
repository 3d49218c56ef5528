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


def per_head(number):
    return number.view(-1, 1, 1) if isinstance(number, torch.Tensor) else number


def alike(q, k, scale, cosine, gaussian):
    """(B, H, N, M)"""
    if cosine is not None:
        unit = lambda t: t / t.norm(dim=-1, keepdim=True)
        return unit(q) @ unit(k).transpose(2, 3) * per_head(cosine)
    if gaussian is not None:
        return -(q[:, :, :, None] - k[:, :, None]).square().sum(-1) / (2 * per_head(gaussian) ** 2)
    return (q @ k.transpose(2, 3)) * (1 / math.sqrt(q.shape[3]) if scale is None else scale)


def by_grid(table, height, width):
    """(H, N, N)"""
    y, x = torch.arange(height * width) // width, torch.arange(height * width) % width
    rows, columns = y[:, None] - y + height - 1, x[:, None] - x + width - 1
    return table[:, rows * (2 * width - 1) + columns]


def scores_of(
    q,
    k,
    *,
    scale=None,
    cosine=None,
    gaussian=None,
    softcap=None,
    alibi_slopes=None,
    relative_table=None,
    relative_grid=None,
    relative_keys=None,
    bias=None,
):
    scores = alike(q, k, scale, cosine, gaussian)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    apart = torch.arange(k.shape[2])[None, :] - torch.arange(q.shape[2])[:, None]
    if alibi_slopes is not None:
        scores = scores - alibi_slopes[..., None, None] * apart.abs()
    if relative_table is not None:
        furthest = relative_table.shape[1] // 2
        scores = scores + relative_table[:, furthest + apart.clamp(-furthest, furthest)]
    if relative_grid is not None:
        scores = scores + by_grid(*relative_grid)
    if relative_keys is not None:
        furthest = relative_keys.shape[1] // 2
        near = relative_keys[:, furthest + apart.clamp(-furthest, furthest)]
        scores = scores + torch.einsum("bhnd,hnmd->bhnm", q, near.expand(q.shape[1], -1, -1, -1)) / math.sqrt(q.shape[3])
    return scores if bias is None else scores + bias


def by_bisection(scores, power):
    """max(s_j - tau, 0)^power with the tau for which they sum to 1: sparsemax, and entmax15 of half the scores."""
    low, high = scores.amax(-1, keepdim=True) - 1, scores.amax(-1, keepdim=True)
    for _ in range(60):
        middle = (low + high) / 2
        enough = (scores - middle).clamp_min(0).pow(power).sum(-1, keepdim=True) >= 1
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return (scores - low).clamp_min(0).pow(power)


def normalise(scores, hidden, normaliser="softmax", sinks=None, sigmoid_bias=None):
    """Weights; rows without a key are 0."""
    empty = hidden.all(-1, keepdim=True)
    scores = scores.masked_fill(hidden & ~empty, -torch.inf)
    if normaliser == "softmax":
        weights = scores.softmax(-1)
    elif normaliser == "softmax_sink":
        sinks = torch.zeros(scores.shape[1]) if sinks is None else sinks
        column = sinks.view(1, -1, 1, 1).expand(*scores.shape[:3], 1).to(scores.dtype)
        weights = torch.cat([scores, column], -1).softmax(-1)[..., :-1]
    elif normaliser == "sigmoid":
        weights = torch.sigmoid(scores + (-math.log(scores.shape[-1]) if sigmoid_bias is None else sigmoid_bias))
    else:
        weights = by_bisection(scores, 1) if normaliser == "sparsemax" else by_bisection(scores / 2, 2)
    return weights.masked_fill(empty, 0.0)


SCORES = (
    "scale",
    "cosine",
    "gaussian",
    "softcap",
    "alibi_slopes",
    "relative_table",
    "relative_grid",
    "relative_keys",
    "bias",
)
NORMALISER = ("normaliser", "sinks", "sigmoid_bias")


def weights_of(q, k, **arguments):
    """(B, H, N, M). Heads of k are repeated to those of q."""
    part = lambda names: {name: arguments.pop(name) for name in names if name in arguments}
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    scores, normaliser = scores_of(q, k, **part(SCORES)), part(NORMALISER)
    return normalise(scores, hidden_pairs(q.shape[2], k.shape[2], **arguments), **normaliser)


def additive_attention(q, k, v, w, **pairs):
    scores = (torch.tanh(q.unsqueeze(3) + k.unsqueeze(2)) * w.view(-1, 1, 1, w.shape[-1])).sum(-1)
    return normalise(scores, hidden_pairs(q.shape[2], k.shape[2], **pairs)) @ v


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
