"""The package local-attention: windows by chunks of keys, forward and backward, in tensor operations."""

from local_attention import LocalAttention

from attend.peers import Unsupported, torch_contestant


def prepare(case, operands, threads):
    if case.n > 16384:
        raise Unsupported("keeps the scores of all windows, 4 GB a tensor and several of them")
    # exact_windowsize: a query sees the `window` keys before it, as (window, 0) does.
    layer = LocalAttention(
        dim=case.d, window_size=case.window, causal=True, look_backward=1, look_forward=0, dropout=0.0,
        exact_windowsize=True, use_rotary_pos_emb=False, autopad=True,
    ).to(case.dtype)
    return torch_contestant("local-attention", case, operands, lambda o: layer(o.q, o.k, o.v))
