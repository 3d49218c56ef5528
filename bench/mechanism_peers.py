#!/usr/bin/env python3
"""Times mechanisms as others have them, for bench/mechanisms_bench.cpp to be compared with. float32, one thread, best thread
CPU time in ms, as lines of JSON; `fovea` names the call of fovea_mechanisms_bench that does the same.

Needs: torch==2.11.0, performer-pytorch==1.1.4, reformer-pytorch==1.4.4.
Usage: python bench/mechanism_peers.py [linear performer lsh axial deformable]
"""
import argparse
import json
import math
import time

import torch
from torch.nn import functional

HEADS, LENGTH, DIM = 8, 8192, 64
CHUNK = 64
# Of the deformable pyramid: as many queries as places, 8500.
MAPS, POINTS, POINT_DIM = [(80, 80), (40, 40), (20, 20), (10, 10)], 4, 32


def leaves(*shapes):
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


def sums_by_chunks(q, k, v):
    """As anyone would write it: states before each chunk by a cumulative sum, pairs within it under a mask."""
    q, k, v = (t.unflatten(2, (-1, CHUNK)) for t in (q, k, v))
    v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
    states = torch.einsum("bhcjr,bhcje->bhcre", k, v)
    before = states.cumsum(2) - states
    pairs = torch.einsum("bhcir,bhcjr->bhcij", q, k).tril()
    sums = torch.einsum("bhcij,bhcje->bhcie", pairs, v) + torch.einsum("bhcir,bhcre->bhcie", q, before)
    return (sums[..., :-1] / sums[..., -1:]).flatten(2, 3)


def featured(name, features):
    """Causal sums of such features, by chunks in einsum and by performer-pytorch without CUDA."""
    from performer_pytorch.performer_pytorch import causal_linear_attention_noncuda

    shape = (1, HEADS, LENGTH, DIM)
    for peer, sums in (("einsum by chunks", sums_by_chunks), ("performer-pytorch", causal_linear_attention_noncuda)):
        def attend(q, k, v, sums=sums):
            return sums(features(q, True), features(k, False), v)

        yield peer, f"--attention {name}:causal=true", attend, leaves(shape, shape, shape)


def linear():
    return featured("linear", lambda x, is_query: functional.elu(x) + 1)


def performer():
    from performer_pytorch.performer_pytorch import gaussian_orthogonal_random_matrix, softmax_kernel

    w = gaussian_orthogonal_random_matrix(int(DIM * math.log(DIM)), DIM)
    return featured("performer", lambda x, is_query: softmax_kernel(x, projection_matrix=w, is_query=is_query))


def lsh():
    from reformer_pytorch import LSHAttention

    attention = LSHAttention(bucket_size=CHUNK, n_hashes=4, causal=True)
    mechanism = f"lsh:chunk={CHUNK},buckets={LENGTH // CHUNK},rounds=4,causal=true,attend_across_buckets=true"
    shape = (HEADS, LENGTH, DIM)
    yield "reformer-pytorch", f"--attention {mechanism}", lambda qk, v: attention(qk, v)[0], leaves(shape, shape)


def softmax_by_products(q, k, v):
    return ((q * DIM**-0.5) @ k.transpose(-1, -2)).softmax(-1) @ v


def axial():
    """Rows of 64 x 64 places, as entries of a batch: rows so short are quicker in plain products."""
    shape = (HEADS * 64, 1, 64, DIM)
    call = "--attention axial:axes=rows --length 4096 --grid"
    yield "sdpa on rows", call, functional.scaled_dot_product_attention, leaves(shape, shape, shape)
    yield "products on rows", call, softmax_by_products, leaves(shape, shape, shape)


def sampled(v, locations, weights):
    """v (H, D, S); locations (H, N, L, P, 2) in 0 ... 1; weights (H, N, L, P): by grid_sample, level by level."""
    sums, first = 0, 0
    for level, (rows, columns) in enumerate(MAPS):
        plane = v[..., first : first + rows * columns].unflatten(2, (rows, columns))
        first += rows * columns
        points = functional.grid_sample(plane, 2 * locations[:, :, level] - 1, align_corners=False)
        sums = sums + (points * weights[:, :, level].unsqueeze(1)).sum(-1)
    return sums


def deformable():
    places = sum(rows * columns for rows, columns in MAPS)
    v, weights = leaves((HEADS, POINT_DIM, places), (HEADS, places, len(MAPS), POINTS))
    locations = torch.rand(HEADS, places, len(MAPS), POINTS, 2, requires_grad=True)
    yield "grid_sample", "--deformable", sampled, [v, locations, weights]


def best(run, times):
    found = math.inf
    for _ in range(times):
        start = time.thread_time()
        run()
        found = min(found, time.thread_time() - start)
    return found * 1e3


def main():
    groups = {group.__name__: group for group in (linear, performer, lsh, axial, deformable)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", default=list(groups), metavar="GROUP", help=", ".join(groups))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for group in options.groups:
        for peer, call, attend, inputs in groups[group]():
            with torch.no_grad():
                grad = torch.ones_like(attend(*inputs))  # not timed, as fovea_mechanisms_bench's is not
            for mode in ("forward", "train"):

                def run():
                    with torch.set_grad_enabled(mode == "train"):
                        out = attend(*inputs)
                    if mode == "train":
                        torch.autograd.grad(out, inputs, grad)

                row = {"peer": peer, "mode": mode, "best_cpu_ms": round(best(run, options.runs), 2), "fovea": call}
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
