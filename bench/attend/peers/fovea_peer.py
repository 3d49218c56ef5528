"""Fovea itself."""

import dataclasses

import torch

from attend.operands import additive_weights, bias_of, t5_bucket, table_index
from attend.peers import torch_contestant

import fovea

OBSERVATIONS = (fovea.TopK(8), "received", "entropy")


def bias_arguments(case):
    """As a function of the operands. T5's buckets depend on the distance alone, and beyond `furthest` all share one: a
    table of 257 distances."""
    if case.bias == "t5":
        furthest = 128
        buckets = t5_bucket(torch.arange(-furthest, furthest + 1))
        return lambda o: {"relative_table": o.table[buckets].t()}
    if case.bias == "swin":
        index = table_index(case)[0]
        return lambda o: {"bias": bias_of(o.table, index)}
    return lambda o: {"bias": o.bias}


def call_of(case):
    """What is timed, as a function of the operands."""
    if case.kind == "additive":
        w = additive_weights(case)
        return lambda o: fovea.additive_attend(o.q, o.k, o.v, w)
    arguments = {"causal": case.causal, "dropout_p": case.dropout_p, "enable_gqa": case.h != case.hkv}
    if case.window is not None:
        arguments["window"] = (case.window, 0)
    if case.kind == "observe":
        return lambda o: fovea.attend(o.q, o.k, o.v, observe=OBSERVATIONS, **arguments)[0]
    bias = bias_arguments(case)
    return lambda o: fovea.attend(o.q, o.k, o.v, **bias(o), **arguments)


def prepare(case, operands, threads):
    return torch_contestant("fovea", case, operands, call_of(case))


def prepare_plain(case, operands, threads):
    """Where something is observed: the same call without."""
    return torch_contestant("fovea plain", case, operands, call_of(dataclasses.replace(case, kind="attend")))
