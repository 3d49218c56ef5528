#!/usr/bin/env python3
"""Writes tests/golden/nn/lowrank.safetensors: what transformers' Nystromformer and Reformer, nystrom-attention, linformer and
reformer-pytorch compute between their projections, in float64. Each has q, k, v (B, H, T, D), out, seen (by which out is
multiplied before it is summed), grad.q, grad.k, grad.v, and weight.KEY with grad.KEY of what else learns; those that hash
have rotations, and queries in the place of keys.

Needs: torch==2.11.0, safetensors, transformers==5.23.0, nystrom-attention==0.0.14, linformer==0.2.3, reformer-pytorch==1.4.4.
Usage: python scripts/parity_tests/lowrank_golden.py
"""
import pathlib

import torch
from linformer.linformer import LinformerSelfAttention
from nystrom_attention import NystromAttention
from reformer_pytorch.reformer_pytorch import LSHAttention
from safetensors.torch import save_file
from transformers import NystromformerConfig, ReformerConfig
from transformers.models.nystromformer.modeling_nystromformer import NystromformerSelfAttention
from transformers.models.reformer.modeling_reformer import LSHSelfAttention

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "nn"
HEADS, LENGTH, SIZE = 2, 32, 4


class Given(torch.nn.Module):
    """A projection that gives rows (B, H, T, D) of ours."""

    def __init__(self, *rows):
        super().__init__()
        self.rows = rows

    def forward(self, _):
        return torch.cat([t.transpose(1, 2).flatten(2) for t in self.rows], -1)


def operands(batch, heads):
    return [torch.randn(batch, heads, LENGTH, SIZE, dtype=torch.double, requires_grad=True) for _ in range(3)]


def shaken(module):
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return module


# out (B, T, H D)
def record(tensors, name, qkv, out, parameters, **more):
    out = out.unflatten(2, (qkv[0].shape[1], SIZE)).transpose(1, 2)
    seen = torch.randn_like(out)
    (out * seen).sum().backward()
    found = dict(zip("qkv", qkv)) | {"out": out, "seen": seen} | more
    found |= {f"grad.{key}": torch.zeros_like(t) if t.grad is None else t.grad for key, t in zip("qkv", qkv)}
    for key, value in parameters.items():
        found |= {f"weight.{key}": value, f"grad.{key}": value.grad}
    tensors.update({f"{name}.{key}": value.detach().clone().contiguous() for key, value in found.items()})


# Its other start of the inverse takes the largest norm of all matrices of the batch.
def nystromformer(tensors):
    config = NystromformerConfig(hidden_size=HEADS * SIZE, num_attention_heads=HEADS, num_landmarks=4, segment_means_seq_len=LENGTH,
                                 conv_kernel_size=5, attention_probs_dropout_prob=0.0)
    module = shaken(NystromformerSelfAttention(config))
    module.init_option = "exact"
    qkv = operands(2, HEADS)
    module.query, module.key, module.value = map(Given, qkv)
    out = module(torch.zeros(2, LENGTH, HEADS * SIZE))[0]
    record(tensors, "nystromformer", qkv, out, {"conv.weight": module.conv.weight})


# One matrix, for the same reason.
def nystrom_attention(tensors):
    module = shaken(NystromAttention(SIZE, dim_head=SIZE, heads=1, num_landmarks=8, pinv_iterations=4, residual_conv_kernel=3))
    qkv = operands(1, 1)
    module.to_qkv, module.to_out = Given(*qkv), torch.nn.Identity()
    out = module(torch.zeros(1, LENGTH, SIZE))
    record(tensors, "nystrom_attention", qkv, out, {"conv.weight": module.res_conv.weight})


# 32 keys where there may be 40.
def linformer(tensors):
    module = shaken(LinformerSelfAttention(HEADS * SIZE, 40, k=6, heads=HEADS))
    qkv = operands(2, HEADS)
    module.to_q, module.to_k, module.to_v = map(Given, qkv)
    module.to_out = torch.nn.Identity()
    record(tensors, "linformer", qkv, module(torch.zeros(2, LENGTH, HEADS * SIZE)), {"E": module.proj_k, "F": module.proj_v})


class Rotations:
    """What torch.randn draws while it lasts."""

    def __enter__(self):
        self.randn = torch.randn

        def keeping(*shape, **options):
            self.drawn = self.randn(*shape, **options)
            return self.drawn

        torch.randn = keeping
        return self

    def __exit__(self, *_):
        torch.randn = self.randn


# One round: in its other rounds the first chunk looks back into the round before. Norms as they are, without 1e-6.
def reformer(tensors, name, causal):
    config = ReformerConfig(hidden_size=HEADS * SIZE, num_attention_heads=HEADS, attention_head_size=SIZE, num_buckets=4, num_hashes=1,
                            lsh_attn_chunk_length=8, lsh_num_chunks_before=1, lsh_num_chunks_after=0, is_decoder=causal,
                            lsh_attention_probs_dropout_prob=0.0)
    module = LSHSelfAttention(config, layer_idx=0).double().eval()
    norm = module._len_norm
    module._len_norm = lambda x: norm(x, epsilon=0.0)
    qkv = operands(2, HEADS)
    module.query_key, module.value = Given(qkv[0]), Given(qkv[2])
    with Rotations() as rotations:
        out = module(torch.zeros(2, LENGTH, HEADS * SIZE, dtype=torch.double)).hidden_states
    record(tensors, name, qkv, out, {}, rotations=rotations.drawn)


# Heads stand in the batch and share the rotations.
def reformer_pytorch(tensors, name, causal):
    module = LSHAttention(bucket_size=8, n_hashes=3, causal=causal, attend_across_buckets=False).double().eval()
    qkv = operands(2, HEADS)
    with Rotations() as rotations:
        out = module(qkv[0].flatten(0, 1), qkv[2].flatten(0, 1))[0]
    out = out.unflatten(0, (2, HEADS)).transpose(1, 2).flatten(2)
    record(tensors, name, qkv, out, {}, rotations=rotations.drawn.expand(HEADS, -1, -1, -1))


if __name__ == "__main__":
    torch.manual_seed(10)
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {}
    nystromformer(tensors)
    nystrom_attention(tensors)
    linformer(tensors)
    reformer(tensors, "reformer", causal=False)
    reformer(tensors, "reformer_causal", causal=True)
    reformer_pytorch(tensors, "reformer_pytorch", causal=False)
    reformer_pytorch(tensors, "reformer_pytorch_causal", causal=True)
    save_file(tensors, OUT / "lowrank.safetensors")
