"""torch.compile(flex_attention): forward only on a CPU. Block mask and compilation are not timed."""

import torch
from torch._inductor import config as inductor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from attend.peers import Contestant, Unsupported, no_dropout
from attend.operands import table_index


def mask_mod(case):
    if case.window is not None:
        return lambda b, h, i, j: (i >= j) & (i - j <= case.window)
    return lambda b, h, i, j: i >= j


def prepare(case, operands, threads):
    no_dropout(case)
    if case.backward and case.n > 16384:  # where its block mask alone takes minutes
        raise Unsupported("has no backward on a CPU, as it says itself at shorter lengths")
    block_mask = None
    if case.causal:
        block_mask = create_block_mask(mask_mod(case), None, None, case.n, case.m, device="cpu")
    bias, table, index = operands[0].bias, operands[0].table, table_index(case)
    score_mod = None
    if bias is not None:
        score_mod = lambda score, b, h, i, j: score + bias[0, h, i, j]
    elif table is not None:
        rows = index[0]
        score_mod = lambda score, b, h, i, j: score + table[rows[i, j], h]
    # The code has room for as many threads as there were when it was compiled, and caches hand it out for more.
    torch.compiler.reset()
    inductor.force_disable_caches = True
    compiled = torch.compile(flex_attention, dynamic=False)

    def run(at):
        o = operands[at]
        gqa = {"enable_gqa": True} if case.h != case.hkv else {}
        if not case.backward:
            with torch.no_grad():
                return [compiled(o.q, o.k, o.v, score_mod=score_mod, block_mask=block_mask, **gqa)]
        out = compiled(o.q, o.k, o.v, score_mod=score_mod, block_mask=block_mask, **gqa)
        return [out, *torch.autograd.grad(out, o.wanted(), o.grad)]

    run(0)
    return Contestant("flex", run)
