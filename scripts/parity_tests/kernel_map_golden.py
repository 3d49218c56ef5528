#!/usr/bin/env python3
"""Writes tests/golden/nn/kernel_map.safetensors: what performer-pytorch and linear-attention-transformer compute of q, k and v in
float64, with gradients. Each has NAME.out and NAME.grad.q, .k, .v; seen is by what out is multiplied before it is summed;
projection_matrix are the Performer's features, lengths the keys of efficient attention.

Needs: torch==2.11.0, safetensors, einops, performer-pytorch==1.1.4, linear-attention-transformer==0.19.1 and what they import
(pip install --no-deps local-attention axial-positional-embedding hyper-connections product-key-memory linformer colt5-attention).
Usage: python scripts/parity_tests/kernel_map_golden.py
"""
import pathlib

import torch
from linear_attention_transformer.linear_attention_transformer import linear_attn
from performer_pytorch.performer_pytorch import (causal_linear_attention_noncuda, gaussian_orthogonal_random_matrix,
                                                 generalized_kernel, linear_attention, softmax_kernel)
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "nn"
LENGTH, SIZE, FEATURES = 37, 4, 9


# Without the small numbers that are added against division by 0.
def causal(q, k, v):
    return causal_linear_attention_noncuda(q, k, v, eps=0.0)


def record(tensors, name, run):
    operands = [tensors[key].clone().requires_grad_() for key in "qkv"]
    out = run(*operands)
    (out * tensors["seen"]).sum().backward()
    tensors[f"{name}.out"] = out.detach()
    tensors |= {f"{name}.grad.{key}": t.grad for key, t in zip("qkv", operands)}
    return tensors


def main():
    torch.manual_seed(10)
    tensors = {key: torch.randn(2, 2, LENGTH, SIZE, dtype=torch.double) for key in ("q", "k", "v", "seen")}
    tensors["projection_matrix"] = w = gaussian_orthogonal_random_matrix(FEATURES, SIZE).double()
    tensors["lengths"] = torch.tensor([LENGTH, 29])
    maps = {
        "linear": lambda x, is_query: torch.nn.functional.elu(x) + 1,
        "performer": lambda x, is_query: softmax_kernel(x, projection_matrix=w, is_query=is_query, eps=0.0),
        "performer_relu": lambda x, is_query: generalized_kernel(x, projection_matrix=w),
    }
    for name, features in maps.items():
        for order, attend in (("", linear_attention), ("_causal", causal)):
            tensors = record(tensors, name + order, lambda q, k, v: attend(features(q, True), features(k, False), v))
    keys = torch.arange(LENGTH) < tensors["lengths"][:, None]
    # It divides by sqrt(SIZE), which the paper does not, and overwrites k and v.
    tensors = record(tensors, "efficient", lambda q, k, v: linear_attn(q, k.clone(), v.clone(), keys) * SIZE**0.5)
    OUT.mkdir(parents=True, exist_ok=True)
    save_file({key: t.contiguous() for key, t in tensors.items()}, OUT / "kernel_map.safetensors")


if __name__ == "__main__":
    main()
