"""Fovea itself."""

import torch

from attend.operands import bias_of, t5_bucket, table_index
from attend.peers import Unsupported, torch_contestant

import fovea


def bias_arguments(case, o):
    """T5's buckets depend on the distance alone, and beyond `furthest` all share one: a table of 257 distances."""
    if case.bias == "t5":
        furthest = 128
        buckets = t5_bucket(torch.arange(-furthest, furthest + 1))
        return {"relative_table": o.table[buckets].t()}
    return {"bias": o.bias if o.table is None else bias_of(o.table, table_index(case)[0])}


def prepare(case, operands, threads):
    if case.kind == "additive":
        raise Unsupported("fovea.additive is not available yet")
    arguments = {"causal": case.causal, "dropout_p": case.dropout_p, "enable_gqa": case.h != case.hkv}
    if case.window is not None:
        arguments["window"] = (case.window, 0)
    if case.kind == "observe":
        arguments["observe"] = ["top_k", "received", "entropy"]

    def call(o):
        out = fovea.attend(o.q, o.k, o.v, **bias_arguments(case, o), **arguments)
        return out[0] if isinstance(out, tuple) else out

    return torch_contestant("fovea", case, operands, call)
