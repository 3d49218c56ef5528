#!/usr/bin/env python3
"""Writes tests/golden/nn/hosts.safetensors: what torch's MultiheadAttention, TransformerEncoder, TransformerDecoder and
Transformer compute in float64, with gradients, and their parameters. A case NAME has NAME.in.*, NAME.weight.KEY,
NAME.out, NAME.seen (by which out is multiplied before it is summed), NAME.grad.in.* and NAME.grad.weight.KEY.

Needs: torch==2.11.0, safetensors.
Usage: python scripts/parity_tests/hosts_golden.py
"""
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "nn"
WIDTH, HEADS, HIDDEN = 8, 2, 12


def random(*shape):
    return torch.randn(*shape, dtype=torch.double)


# Every parameter random: biases and norms start where they would hide a mistake.
def shaken(module):
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(random(*parameter.shape) * 0.5)
    return module


def record(tensors, name, module, inputs, run, **masks):
    for value in inputs.values():
        value.requires_grad_()
    out = run(module, **inputs, **masks)
    seen = random(*out.shape)
    (out * seen).sum().backward()
    found = {"out": out, "seen": seen}
    for key, value in inputs.items():
        found |= {f"in.{key}": value, f"grad.in.{key}": value.grad}
    for key, value in module.named_parameters():
        found |= {f"weight.{key}": value, f"grad.weight.{key}": value.grad}
    found |= {f"mask.{key}": value for key, value in masks.items()}
    tensors.update({f"{name}.{key}": value.detach().clone().contiguous() for key, value in found.items()})


def attention(tensors):
    # Masks say what is hidden; none of the rows sees nothing.
    hidden = torch.rand(5, 7) < 0.3
    hidden[:, 0] = False
    padding = torch.arange(7) >= torch.tensor([[7], [4]])

    def run(module, query, key, value, attn_mask=None, key_padding_mask=None):
        return module(query, key, value, attn_mask=attn_mask, key_padding_mask=key_padding_mask)[0]

    def own(module, x, **masks):
        return run(module, x, x, x, **masks)

    same = shaken(nn.MultiheadAttention(WIDTH, HEADS, batch_first=True))
    record(tensors, "mha.self", same, {"x": random(2, 7, WIDTH)}, own, key_padding_mask=padding)
    plain = shaken(nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, bias=False))
    record(tensors, "mha.cross", plain, {"query": random(2, 5, WIDTH), "key": random(2, 7, WIDTH), "value": random(2, 7, WIDTH)}, run,
           attn_mask=hidden)
    widths = shaken(nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, kdim=6, vdim=10))
    record(tensors, "mha.widths", widths, {"query": random(2, 5, WIDTH), "key": random(2, 7, 6), "value": random(2, 7, 10)}, run,
           attn_mask=hidden, key_padding_mask=padding)


def stacks(tensors):
    padding = torch.arange(6) >= torch.tensor([[6], [4]])
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.double)
    for name, first, activation, bias in [("post", False, "relu", True), ("pre", True, "gelu", True), ("plain", True, "relu", False)]:
        options = {"dropout": 0.0, "activation": activation, "batch_first": True, "norm_first": first, "bias": bias}
        whole = shaken(nn.Transformer(WIDTH, HEADS, 1, 1, HIDDEN, **options))
        record(tensors, f"transformer.{name}", whole, {"source": random(2, 6, WIDTH), "target": random(2, 5, WIDTH)},
               lambda module, source, target: module(source, target, tgt_mask=causal, src_key_padding_mask=padding,
                                                     memory_key_padding_mask=padding, tgt_is_causal=True))
    encoder = shaken(nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, 0.0, batch_first=True), 2))
    record(tensors, "encoder", encoder, {"x": random(2, 6, WIDTH)}, lambda module, x: module(x))
    decoder = shaken(nn.TransformerDecoder(nn.TransformerDecoderLayer(WIDTH, HEADS, HIDDEN, 0.0, batch_first=True), 2))
    record(tensors, "decoder", decoder, {"x": random(2, 5, WIDTH), "memory": random(2, 6, WIDTH)},
           lambda module, x, memory: module(x, memory))


if __name__ == "__main__":
    torch.manual_seed(7)
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {}
    attention(tensors)
    stacks(tensors)
    save_file(tensors, OUT / "hosts.safetensors")
