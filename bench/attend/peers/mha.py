"""torch.nn.MultiheadAttention: attention between projections of 512 numbers, (B, T, E).

Three contestants: with its fast path and without it, and, where weights are asked for, with need_weights. Fovea's part
is the same projections around fovea.attend, which observes where weights are asked for.
"""

import torch
from torch.nn.functional import linear

from attend.peers import Contestant, inference_only
from attend.peers.fovea_peer import OBSERVATIONS

import fovea


def module(case):
    torch.manual_seed(0)
    layer = torch.nn.MultiheadAttention(case.h * case.d, case.h, batch_first=True, dtype=case.dtype)
    return layer.eval().requires_grad_(case.backward)


def rows(operands):
    """(B, T, E) inputs made of the queries."""
    return [o.q.detach().transpose(1, 2).flatten(2).contiguous().requires_grad_(o.q.requires_grad) for o in operands]


def contestant(name, case, operands, layer, call):
    inputs, grads = rows(operands), [g.detach() for g in rows(operands)]
    parameters = list(layer.parameters())

    def run(at):
        if not case.backward:
            with torch.inference_mode():
                return [call(inputs[at])]
        out = call(inputs[at])
        return [out, *torch.autograd.grad(out, [inputs[at], *parameters], grads[at])]

    return Contestant(name, run, exact=False)


def prepare_module(name, fast, weights):
    def prepare(case, operands, threads):
        if fast:
            inference_only(case)
        layer = module(case)

        def call(x):
            torch.backends.mha.set_fastpath_enabled(fast)
            return layer(x, x, x, need_weights=weights)[0]

        return contestant(name, case, operands, layer, call)

    return prepare


def prepare_fovea(case, operands, threads):
    layer = module(case)
    observe = OBSERVATIONS if case.kind == "observed projections" else ()

    def call(x):
        heads = linear(x, layer.in_proj_weight, layer.in_proj_bias).view(*x.shape[:2], 3, case.h, case.d)
        found = fovea.attend(*heads.permute(2, 0, 3, 1, 4).unbind(), observe=observe)
        out = found[0] if observe else found
        return layer.out_proj(out.transpose(1, 2).flatten(2))

    return contestant("fovea", case, operands, layer, call)


prepare_fast = prepare_module("mha fast", fast=True, weights=False)
prepare_slow = prepare_module("mha", fast=False, weights=False)
prepare_weights = prepare_module("mha weights", fast=False, weights=True)
