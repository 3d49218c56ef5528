"""torch.nn.functional.scaled_dot_product_attention, each time in the way that runs quickest."""

import torch
from torch.nn.functional import scaled_dot_product_attention

from attend.exact import hidden
from attend.operands import bias_of, table_index
from attend.peers import Unsupported, torch_contestant


def prepare(case, operands, threads):
    if case.window is not None and case.n > 16384:
        raise Unsupported("needs a mask of every pair, 4 GB")
    arguments = {"dropout_p": case.dropout_p, "is_causal": case.causal, "enable_gqa": case.h != case.hkv}
    mask = None
    if case.window is not None:
        arguments["is_causal"] = False
        mask = ~hidden(case, torch.arange(case.n), torch.arange(case.m))
    index = table_index(case)

    def call(o):
        bias = o.bias if o.table is None else bias_of(o.table, index[0])
        return scaled_dot_product_attention(o.q, o.k, o.v, attn_mask=mask if bias is None else bias, **arguments)

    return torch_contestant("sdpa", case, operands, call)


def prepare_folded(case, operands, threads):
    """For one query a head: the query heads of a key head as queries of one head, which spares reading keys again."""

    def call(o):
        q = o.q.view(case.b, case.hkv, -1, case.d)
        return scaled_dot_product_attention(q, o.k, o.v).view(o.q.shape)

    return torch_contestant("sdpa folded", case, operands, call)


def prepare_causal(case, operands, threads):
    """For windows: without the left bound. More than was asked, but without a mask in memory."""
    call = lambda o: scaled_dot_product_attention(o.q, o.k, o.v, is_causal=True)
    return torch_contestant("sdpa causal", case, operands, call, exact=False)
