#!/usr/bin/env python3
"""Writes tests/golden/nn/hybrid.safetensors: what the brute force of MoBA's authors computes in float64, with gradients.

Cases `ragged`, `whole` and `own` (a query sees its own block alone) have q, k, v (B, H, T, D), block, topk, out, seen (by which out
is multiplied before it is summed) and grad.q, grad.k, grad.v.

Needs: torch==2.11.0, safetensors, and moba/moba_naive.py of github.com/MoonshotAI/MoBA at 61e456b.
Usage: python scripts/parity_tests/hybrid_golden.py MOBA_NAIVE.PY
"""
import importlib.util
import pathlib
import sys

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "nn"
HEADS, SIZE = 2, 4
CASES = {"ragged": (45, 8, 3), "whole": (32, 4, 4), "own": (21, 5, 1)}


def brute_force(path):
    spec = importlib.util.spec_from_file_location("moba_naive", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.moba_attn_varlen_naive


# It takes scores and weights to float32, whatever its operands are.
def in_float64(call):
    float32, torch.float32 = torch.float32, torch.float64
    try:
        return call()
    finally:
        torch.float32 = float32


def record(tensors, name, attend):
    length, block, topk = CASES[name]
    rows = [torch.randn(length, HEADS, SIZE, dtype=torch.double, requires_grad=True) for _ in range(3)]
    out = in_float64(lambda: attend(*rows, torch.tensor([0, length]), length, block, topk))
    seen = torch.randn_like(out)
    (out * seen).sum().backward()
    found = dict(zip("qkv", rows)) | {"out": out, "seen": seen} | {f"grad.{key}": t.grad for key, t in zip("qkv", rows)}
    tensors.update({f"{name}.{key}": t.detach().transpose(0, 1)[None].contiguous() for key, t in found.items()})
    tensors.update({f"{name}.block": torch.tensor(block), f"{name}.topk": torch.tensor(topk)})


if __name__ == "__main__":
    torch.manual_seed(13)
    attend = brute_force(sys.argv[1])
    tensors = {}
    for name in CASES:
        record(tensors, name, attend)
    OUT.mkdir(parents=True, exist_ok=True)
    save_file(tensors, OUT / "hybrid.safetensors")
