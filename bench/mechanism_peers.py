#!/usr/bin/env python3
"""Times causal linear attention as others have it, for bench/mechanisms_bench.cpp to be compared with: performer-pytorch's form
without CUDA, and sums by chunks of 64 in einsum. float32, one thread, best thread CPU time in ms, as lines of JSON.

Needs: torch==2.11.0, performer-pytorch==1.1.4.
Usage: python bench/linear_attend_peers.py [--length 8192]
"""
import argparse
import json
import math
import time

import torch
from performer_pytorch.performer_pytorch import (causal_linear_attention_noncuda, gaussian_orthogonal_random_matrix,
                                                 softmax_kernel)

CHUNK = 64


def by_chunks(q, k, v):
    """As anyone would write it: states before each chunk by a cumulative sum, pairs within it under a mask."""
    q, k, v = (t.unflatten(2, (-1, CHUNK)) for t in (q, k, v))
    v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
    states = torch.einsum("bhcjr,bhcje->bhcre", k, v)
    before = states.cumsum(2) - states
    pairs = torch.einsum("bhcir,bhcjr->bhcij", q, k).tril()
    sums = torch.einsum("bhcij,bhcje->bhcie", pairs, v) + torch.einsum("bhcir,bhcre->bhcie", q, before)
    return (sums[..., :-1] / sums[..., -1:]).flatten(2, 3)


def best(run, times):
    found = math.inf
    for _ in range(times):
        start = time.thread_time()
        run()
        found = min(found, time.thread_time() - start)
    return found * 1e3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = (1, options.heads, options.length, options.head_dim)
    grad = torch.randn(shape)
    w = gaussian_orthogonal_random_matrix(int(options.head_dim * math.log(options.head_dim)), options.head_dim)
    maps = {
        "linear": lambda x, is_query: torch.nn.functional.elu(x) + 1,
        "performer": lambda x, is_query: softmax_kernel(x, projection_matrix=w, is_query=is_query),
    }
    for mechanism, features in maps.items():
        for peer, attend in (("performer-pytorch", causal_linear_attention_noncuda), ("einsum by chunks", by_chunks)):
            for mode in ("forward", "train"):
                q, k, v = (torch.randn(shape, requires_grad=mode == "train") for _ in range(3))

                def run():
                    with torch.set_grad_enabled(mode == "train"):
                        out = attend(features(q, True), features(k, False), v)
                    if mode == "train":
                        torch.autograd.grad(out, (q, k, v), grad)

                row = {"mechanism": mechanism, "peer": peer, "mode": mode, "best_cpu_ms": best(run, options.runs)}
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
