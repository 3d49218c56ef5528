#!/usr/bin/env python3
"""Writes tests/golden/nn/plane.safetensors: what others compute of images x in float64, with gradients.

- the package axial-attention, of x (B, rows, columns, E): `sum` has one projection for both axes, `steps` a projection each,
  columns first; their keys are AXIS.KEY
- timm's blocks as `coatnet_0_rw_224` has them, of x (B, C, H, W), in evaluation: `conv1`, `conv2`, `transformer1`,
  `transformer2`, by their stride

Each has x, out, seen (by which out is multiplied before it is summed), grad.x, weight.KEY and grad.KEY.

Needs: torch==2.11.0, safetensors, axial-attention==0.6.1, timm==1.0.31.
Usage: python scripts/parity_tests/plane_golden.py
"""
import dataclasses
import functools
import pathlib

import torch
from axial_attention import AxialAttention
from safetensors.torch import save_file
from timm.layers import RelPosBias
from timm.models.maxxvit import MbConvBlock, TransformerBlock2d, model_cfgs

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "nn"
WIDTH, HEADS, ROWS, COLUMNS = 8, 2, 3, 5


def record(tensors, name, module, x, weights):
    x = x.double().requires_grad_()
    out = module(x)
    seen = torch.randn_like(out)
    (out * seen).sum().backward()
    found = {"x": x, "out": out, "seen": seen, "grad.x": x.grad}
    for key, value in weights.items():
        found[f"weight.{key}"] = value
        if value.grad is not None:
            found[f"grad.{key}"] = value.grad
    tensors.update({f"{name}.{key}": value.detach().clone().contiguous() for key, value in found.items()})


def shake(module):
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
        for key, buffer in module.named_buffers():
            if key.endswith("running_mean"):
                buffer.normal_()
            if key.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    return module


def axial(tensors, name, added):
    module = shake(AxialAttention(WIDTH, num_dimensions=2, heads=HEADS, dim_index=-1, sum_axial_out=added))
    axes = {"columns": module.axial_attentions[0].fn, "rows": module.axial_attentions[1].fn}
    if added:
        axes["rows"].load_state_dict(axes["columns"].state_dict())
    weights = {f"{axis}.{key}": value for axis, attention in axes.items() for key, value in attention.named_parameters()}
    record(tensors, name, module, torch.randn(2, ROWS, COLUMNS, WIDTH), weights)


def coatnet(tensors, stride):
    config = model_cfgs["coatnet_0_rw"]
    out = WIDTH * stride
    x = torch.randn(2, WIDTH, ROWS * stride, COLUMNS * stride)
    conv = shake(MbConvBlock(WIDTH, out, stride=stride, cfg=config.conv_cfg))
    statistics = {key: value for key, value in conv.named_buffers() if "running" in key}
    record(tensors, f"conv{stride}", conv, x, dict(conv.named_parameters()) | statistics)
    places = functools.partial(RelPosBias, window_size=(ROWS, COLUMNS))
    small = dataclasses.replace(config.transformer_cfg, dim_head=WIDTH // HEADS)
    transformer = shake(TransformerBlock2d(WIDTH, out, stride=stride, rel_pos_cls=places, cfg=small))
    record(tensors, f"transformer{stride}", transformer, x, dict(transformer.named_parameters()))


if __name__ == "__main__":
    torch.manual_seed(11)
    tensors = {}
    axial(tensors, "sum", True)
    axial(tensors, "steps", False)
    for stride in (1, 2):
        coatnet(tensors, stride)
    save_file(tensors, OUT / "plane.safetensors")
