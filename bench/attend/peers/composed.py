"""Additive attention (Bahdanau et al. 2015, A.1.2) in tensor operations: the only way that PyTorch has."""

import torch

from attend.operands import additive_weights
from attend.peers import torch_contestant


def prepare(case, operands, threads):
    w = additive_weights(case)

    def call(o):
        scores = torch.tanh(o.q.unsqueeze(3) + o.k.unsqueeze(2)) @ w
        return scores.softmax(-1) @ o.v

    return torch_contestant("composed", case, operands, call)
