"""Every peer, by the module that makes it."""

import importlib

PEERS = {
    "fovea": ("fovea_peer", "prepare"),
    "fovea plain": ("fovea_peer", "prepare_plain"),
    "fovea projections": ("mha", "prepare_fovea"),
    "sdpa": ("sdpa", "prepare"),
    "sdpa causal": ("sdpa", "prepare_causal"),
    "sdpa folded": ("sdpa", "prepare_folded"),
    "flex": ("flex", "prepare"),
    "openvino": ("openvino_peer", "prepare"),
    "onnxruntime": ("onnxruntime_peer", "prepare"),
    "local-attention": ("local_attention_peer", "prepare"),
    "mha fast": ("mha", "prepare_fast"),
    "mha": ("mha", "prepare_slow"),
    "mha weights": ("mha", "prepare_weights"),
    "composed": ("composed", "prepare"),
}


def preparer(name):
    """Imports the peer only now: one that is not installed fails alone."""
    module, function = PEERS[name]
    return getattr(importlib.import_module(f"attend.peers.{module}"), function)


def contest(case):
    """Names of those who are asked for the case; who cannot do it says why."""
    if case.kind == "projections":
        return ["fovea projections", "mha fast", "mha"]
    if case.kind == "observe":
        return ["fovea", "fovea plain"]
    if case.kind == "observed projections":
        return ["fovea projections", "mha weights"]
    if case.kind == "additive":
        return ["fovea", "composed"]
    more = ["composed"] if case.backward and case.window is None else []
    if case.window is not None:
        more = ["local-attention"] if case.backward else ["sdpa causal", "local-attention"]
    if case.n == 1 and case.h != case.hkv:
        more = ["sdpa folded"]
    return ["fovea", "sdpa", "flex", "openvino", "onnxruntime", *more]
