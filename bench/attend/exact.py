"""The definition in float64, and how far a contestant is from it.

Only the first batch entry and the query heads of the first key head are compared: heads are independent. Rows go in
blocks, so that long inputs fit.
"""

import torch

from attend.operands import additive_weights, bias_of, table_index

BLOCK = 512
BLOCK_OF_HIDDEN_UNITS = 64  # rows of additive scores, of which each pair has as many numbers as d says


def hidden(case, rows, columns):
    apart = rows[:, None] - columns[None, :]
    unseen = torch.zeros(apart.shape, dtype=torch.bool)
    if case.causal:
        unseen |= apart < 0
    if case.window is not None:
        unseen |= apart > case.window
    return unseen


def first_group(case, operands):
    """q, k, v, grad of the compared heads, (heads, T, D), float64, without a graph."""
    heads = case.h // case.hkv
    taken = (operands.q[0, :heads], operands.k[0, :1], operands.v[0, :1], operands.grad[0, :heads])
    return [t.detach().double() for t in taken]


def scores_of(case, q, k):
    if case.kind == "additive":
        return torch.tanh(q.unsqueeze(2) + k.unsqueeze(1)) @ additive_weights(case).double()
    return q @ k.transpose(1, 2) * case.scale


def exact_results(case, operands):
    """out, or out, dq, dk, dv."""
    q, k, v, grad = first_group(case, operands)
    for t in (q, k, v):
        t.requires_grad_(case.backward)
    bias = operands.bias
    if operands.table is not None:
        bias = bias_of(operands.table.detach(), table_index(case)[0])
    outs, block = [], BLOCK_OF_HIDDEN_UNITS if case.kind == "additive" else BLOCK
    for begin in range(0, case.n, block):
        rows = torch.arange(begin, min(begin + block, case.n))
        first = max(0, begin - case.window) if case.window is not None else 0
        columns = torch.arange(first, int(rows[-1]) + 1 if case.causal else case.m)
        scores = scores_of(case, q[:, rows], k[:, columns])
        if bias is not None:
            scores = scores + bias.detach()[0, : len(q), rows][:, :, columns].double()
        out = scores.masked_fill(hidden(case, rows, columns), -torch.inf).softmax(-1) @ v[:, columns]
        if case.backward:
            out.backward(grad[:, rows])
        outs.append(out.detach())
    return [torch.cat(outs, 1)] + ([q.grad, k.grad, v.grad] if case.backward else [])


def errors(case, exact, results):
    """Relative to the norm: of the result, and the largest of the gradients of q, k and v (None without)."""
    heads = case.h // case.hkv
    found = []
    for i, (expected, result) in enumerate(zip(exact, results)):
        ours = result.detach()[0, : (heads if i < 2 else 1)].double()
        found.append(((ours - expected).norm() / expected.norm()).item())
    return {"error": found[0], "gradient_error": max(found[1:]) if case.backward else None}
