"""The definition in tensor operations: of additive attention (Bahdanau et al. 2015, A.1.2) the only way that PyTorch has,
and forward and backward in half types quicker than its kernel."""

import torch

from attend.exact import hidden
from attend.operands import additive_weights, bias_of, table_index
from attend.peers import torch_contestant


def additive_scores(case):
    w = additive_weights(case)
    return lambda o: torch.tanh(o.q.unsqueeze(3) + o.k.unsqueeze(2)) @ w


def product_scores(case):
    index = table_index(case)
    unseen = hidden(case, torch.arange(case.n), torch.arange(case.m)) if case.causal else None

    def call(o):
        scores = (o.q * case.scale) @ o.k.transpose(2, 3)
        bias = o.bias if o.table is None else bias_of(o.table, index[0])
        if bias is not None:
            scores = scores + bias
        return scores if unseen is None else scores.masked_fill(unseen, float("-inf"))

    return call


def prepare(case, operands, threads):
    scores = (additive_scores if case.kind == "additive" else product_scores)(case)

    def call(o):
        return torch.dropout(scores(o).softmax(-1), case.dropout_p, train=case.dropout_p > 0) @ o.v

    return torch_contestant("composed", case, operands, call)
