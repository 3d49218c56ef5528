#!/usr/bin/env python3
"""Writes tests/golden/attend/scores.safetensors: T5's buckets as transformers counts them, Swin's masks as timm makes
them, and what torchvision's shifted windows of Swin and Swin v2 compute, with gradients.

Needs: torch==2.11.0, torchvision, timm, safetensors, transformers==5.23.0.
Usage: python scripts/parity_tests/scores_golden.py
"""
import pathlib

import torch
from safetensors.torch import save_file
from timm.models.swin_transformer import SwinTransformerBlock
from torchvision.models.swin_transformer import _get_relative_position_bias, shifted_window_attention
from transformers.models.t5.modeling_t5 import T5Attention

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "attend"
# Both directions?, buckets, largest distance. Of the last four, two need the logarithm in float32 and two its operations in
# their order.
BUCKETS = [(True, 32, 128), (False, 32, 128), (True, 64, 256), (False, 16, 20), (True, 8, 1000), (False, 33, 100), (True, 4, 2),
           (True, 96, 81), (False, 48, 81), (True, 64, 81), (False, 128, 100)]
# Grid, window, shift.
WINDOWS = [((8, 8), (4, 4), (2, 2)), ((14, 14), (7, 7), (3, 3)), ((6, 12), (3, 4), (1, 2)), ((4, 12), (4, 4), (0, 2)),
           ((10, 5), (5, 5), (4, 0)), ((9, 9), (3, 3), (2, 1)), ((4, 6), (2, 2), (1, 1))]
GRID, WINDOW, SHIFT, HEADS, CHANNELS = (8, 12), [4, 6], [2, 3], 2, 16


def buckets(tensors):
    for both, count, furthest in BUCKETS:
        distances = torch.arange(-furthest - 100, furthest + 101)
        found = T5Attention._relative_position_bucket(distances, bidirectional=both, num_buckets=count, max_distance=furthest)
        tensors[f"t5.{int(both)}.{count}.{furthest}"] = found.to(torch.uint8)


def masks(tensors):
    for i, (grid, window, shift) in enumerate(WINDOWS):
        block = SwinTransformerBlock(8, grid, num_heads=1, window_size=window, shift_size=1, always_partition=True)
        block.window_size, block.shift_size, block.window_area = window, shift, window[0] * window[1]
        tensors[f"mask.{i}"] = block.get_attn_mask() == 0
        tensors[f"mask.{i}.sizes"] = torch.tensor([*grid, *window, *shift], dtype=torch.int32)


def place_index():
    rows, columns = torch.meshgrid(torch.arange(WINDOW[0]), torch.arange(WINDOW[1]), indexing="ij")
    y, x = rows.flatten(), columns.flatten()
    return ((y[:, None] - y + WINDOW[0] - 1) * (2 * WINDOW[1] - 1) + x[:, None] - x + WINDOW[1] - 1).flatten()


# In float64, from numbers of float32, so that what it lacks is not its own rounding.
def windows(tensors, name, scale):
    torch.manual_seed(5)
    x = torch.randn(2, *GRID, CHANNELS).double().requires_grad_()
    qkv = (torch.randn(3 * CHANNELS, CHANNELS) * 0.3).double()
    table = torch.randn((2 * WINDOW[0] - 1) * (2 * WINDOW[1] - 1), HEADS).double().requires_grad_()
    bias = _get_relative_position_bias(table, place_index(), WINDOW)
    projection = torch.eye(CHANNELS, dtype=torch.double)
    out = shifted_window_attention(x, qkv, projection, bias, WINDOW, HEADS, SHIFT, logit_scale=scale)
    weights = torch.randn(out.shape).double()
    (out * weights).sum().backward()
    found = {"x": x, "qkv": qkv, "table": table, "out": out, "weights": weights, "grad_x": x.grad, "grad_table": table.grad}
    if scale is not None:
        found |= {"logit_scale": scale, "grad_logit_scale": scale.grad}
    tensors.update({f"{name}.{key}": value.detach().float().contiguous() for key, value in found.items()})


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {}
    buckets(tensors)
    masks(tensors)
    windows(tensors, "swin", None)
    windows(tensors, "swin_v2", torch.log(torch.tensor([10.0, 4.0])).double().view(HEADS, 1, 1).requires_grad_())
    save_file(tensors, OUT / "scores.safetensors")
