#!/usr/bin/env python3
"""Writes tests/golden/nn/sparse.safetensors: what transformers' Longformer and BigBird compute of rows x in float64, with
gradients, and their projections. Each has x, weight.KEY, lengths, out, seen (by which out is multiplied before it is
summed), grad.x and grad.KEY; BigBird also block_mask, the blocks that its heads see.

Needs: torch==2.11.0, safetensors, transformers==5.23.0.
Usage: python scripts/parity_tests/sparse_golden.py
"""
import pathlib

import torch
from safetensors.torch import save_file
from transformers import BigBirdConfig, LongformerConfig
from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention, BigBirdModel
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "nn"
WIDTH, HEADS, LENGTH, BLOCK = 8, 2, 32, 4
LENGTHS = torch.tensor([LENGTH, 27])
PADDED = torch.arange(LENGTH) >= LENGTHS[:, None]


# Longformer's softmax rounds to float32, whatever its operands are.
def keep_float64():
    softmax = torch.nn.functional.softmax
    torch.nn.functional.softmax = lambda input, dim=None, dtype=None, **_: softmax(input, dim=dim)


def shaken(module):
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return module


def record(tensors, name, module, run):
    x = torch.randn(2, LENGTH, WIDTH, dtype=torch.double, requires_grad=True)
    out = run(x).reshape(2, LENGTH, WIDTH)
    # Rows of padding are left aside: they are 0 there, and anything here.
    seen = torch.randn_like(out).masked_fill(PADDED[:, :, None], 0.0)
    (out * seen).sum().backward()
    found = {"x": x, "out": out, "seen": seen, "grad.x": x.grad, "lengths": LENGTHS}
    for key, value in module.named_parameters():
        found |= {f"weight.{key}": value, f"grad.{key}": value.grad}
    tensors.update({f"{name}.{key}": value.detach().clone().contiguous() for key, value in found.items()})


# A window of 4 to either side, and 2 positions that see all by projections of their own.
def longformer(tensors):
    config = LongformerConfig(hidden_size=WIDTH, num_attention_heads=HEADS, attention_window=[8], attention_probs_dropout_prob=0.0)
    module = shaken(LongformerSelfAttention(config, layer_id=0))
    everywhere = torch.arange(LENGTH).expand(2, -1) < 2
    mask = torch.zeros(2, LENGTH, dtype=torch.double).masked_fill(everywhere, 10000.0).masked_fill(PADDED, -10000.0)
    record(tensors, "longformer", module, lambda x: module(x, attention_mask=mask, is_index_masked=mask < 0,
                                                           is_index_global_attn=mask > 0, is_global_attn=True)[0])


# One block at random for each, chosen here: in evaluation transformers takes block 0 again.
def bigbird(tensors):
    config = BigBirdConfig(hidden_size=WIDTH, num_attention_heads=HEADS, block_size=BLOCK, num_random_blocks=1,
                           attention_probs_dropout_prob=0.0, max_position_embeddings=LENGTH)
    module = shaken(BigBirdBlockSparseAttention(config)).train()
    count = LENGTH // BLOCK
    block = torch.arange(count)
    ends = (block == 0) | (block == count - 1)
    sees = ((block[:, None] - block).abs() <= 1) | ends | ends[:, None]
    chosen = torch.stack([torch.stack([torch.nonzero(~sees[row])[torch.randint((~sees[row]).sum(), ())] for row in range(1, count - 1)])
                          for _ in range(HEADS)])
    module._bigbird_block_rand_mask_with_head = lambda **_: list(chosen.numpy())
    block_mask = sees.repeat(HEADS, 1, 1)
    block_mask[:, 1:-1].scatter_(2, chosen, True)
    blocked, band, rows, columns = BigBirdModel.create_masks_for_block_sparse_attn((~PADDED).double(), BLOCK)
    record(tensors, "bigbird", module, lambda x: module(x, band_mask=band, from_mask=rows, to_mask=columns,
                                                        from_blocked_mask=blocked, to_blocked_mask=blocked)[0])
    tensors["bigbird.block_mask"] = block_mask[None].contiguous()


if __name__ == "__main__":
    torch.manual_seed(9)
    keep_float64()
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {}
    longformer(tensors)
    bigbird(tensors)
    save_file(tensors, OUT / "sparse.safetensors")
