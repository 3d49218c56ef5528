"""`attend`: what PyTorch's scaled_dot_product_attention does, with more in the kernel."""

from collections.abc import Sequence

import torch
from torch import Tensor

import fovea.library  # noqa: F401 (registers torch.ops.fovea)

_CAUSAL = {False: "none", True: "top_left", "bottom_right": "bottom_right"}


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
    causal: bool | str = False,
    window: tuple[int | None, int | None] | None = None,
    alibi_slopes: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    relative_table: Tensor | None = None,
    key_lengths: Tensor | None = None,
    segment_ids: tuple[Tensor, Tensor] | None = None,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    block_mask: tuple[Tensor, int] | None = None,
    softcap: float | None = None,
    normaliser: str = "softmax",
    dropout_p: float = 0.0,
    seed: int | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    observe: Sequence[str] = (),
) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
    """Attention: a weighted sum of values.   out = normalise(mask(bias + ALiBi + softcap(scale q k^T))) v

    q (B, H, N, D), k (B, Hkv, M, D), v (B, Hkv, M, Dv) -> (B, H, N, Dv); float32, bfloat16, float16, or float64 by the
    definition. A query that may see no key gives 0. What a query may not see has no influence on it, NaN included.

    scale          factor on q.k; 1 / sqrt(D) when None
    causal         True: key j <= query i; "bottom_right": j <= i + M - N
    window         (left, right), both inclusive: i - left <= j <= i + right; None is no bound
    alibi_slopes   (H) or (B, H): adds -slope |i - j|; has a gradient
    bias           added to the scores, broadcastable to (B, H, N, M); has a gradient
    mask           boolean, broadcastable to (B, H, N, M): True = may attend
    relative_table (H|1, 2R + 1): adds table[h, R + clamp(j - i, -R, R)]; has a gradient
    key_lengths    (B), integers: keys before the length of their batch entry
    segment_ids    (B, N) and (B, M), integers: keys of the query's own segment, such as a document
    cu_seqlens_q, cu_seqlens_k   (S + 1), integers: offsets of sequences behind each other; q, k, v are (total, H, D)
    block_mask     boolean (B|1, H|1, blocks of queries, blocks of keys) and the size of a block
    softcap        c: c tanh(s / c)
    normaliser     "softmax"
    dropout_p      probability that a weight is dropped (and the rest scaled by 1 / (1 - p)), in [0, 1)
    seed           of the dropout; drawn from torch's generator when None
    enable_gqa     H may be a multiple of Hkv: groups of queries share keys
    return_lse     also the logarithm of each query's sum of exponentials, (B, H, N), float32, as "lse"; has a gradient
    observe        names of what else to return, as "weights" (B, H, N, M)

    Returns out, or (out, {name: tensor}) when return_lse or observe ask for more.
    Raises ValueError for arguments that do not fit, NotImplementedError for what is not there yet.
    """
    if causal not in _CAUSAL:
        raise ValueError(
            f'[attend] causal must be False, True or "bottom_right"; found {causal!r}. Leave it out for no order.'
        )
    if dropout_p > 0.0 and seed is None:
        seed = int(torch.randint(2**62, ()))
    left, right = window if window is not None else (None, None)
    query_segments, key_segments = segment_ids if segment_ids is not None else (None, None)
    blocks, block_size = block_mask if block_mask is not None else (None, None)
    observed = (["lse"] if return_lse else []) + list(observe)
    out, *found = torch.ops.fovea.attend(
        q,
        k,
        v,
        alibi_slopes,
        bias,
        relative_table,
        mask=mask,
        key_lengths=key_lengths,
        query_segments=query_segments,
        key_segments=key_segments,
        cu_seqlens_q=cu_seqlens_q,
        cu_seqlens_k=cu_seqlens_k,
        block_mask=blocks,
        block_size=block_size,
        scale=scale,
        causal=_CAUSAL[causal],
        window_left=left,
        window_right=right,
        softcap=softcap,
        normaliser=normaliser,
        dropout_p=dropout_p,
        seed=seed,
        enable_gqa=enable_gqa,
        observe=observed,
    )
    return (out, dict(zip(observed, found))) if observed else out
