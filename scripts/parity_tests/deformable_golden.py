#!/usr/bin/env python3
"""Writes tests/golden/nn/deformable.safetensors: what transformers' attention of Deformable DETR computes in float64 of
two pyramids at points and at boxes, with gradients. Each has query, input, reference, seen_values, weight.KEY, out,
seen (by which out is multiplied before it is summed), grad.query, grad.input and grad.KEY.

Needs: torch==2.11.0, safetensors, transformers==5.23.0.
Usage: python scripts/parity_tests/deformable_golden.py
"""
import pathlib

import torch
from safetensors.torch import save_file
from transformers import DeformableDetrConfig
from transformers.models.deformable_detr.modeling_deformable_detr import DeformableDetrMultiscaleDeformableAttention

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "nn"
WIDTH, HEADS, POINTS, QUERIES = 8, 2, 3, 5
MAPS = [(4, 6), (2, 3)]
PLACES = sum(rows * columns for rows, columns in MAPS)


def record(tensors, name, coordinates):
    config = DeformableDetrConfig(d_model=WIDTH, num_feature_levels=len(MAPS))
    module = DeformableDetrMultiscaleDeformableAttention(config, num_heads=HEADS, n_points=POINTS).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    query, values = (torch.randn(2, n, WIDTH, dtype=torch.double, requires_grad=True) for n in (QUERIES, PLACES))
    reference = torch.rand(2, QUERIES, len(MAPS), coordinates, dtype=torch.double)
    seen_values = torch.rand(2, PLACES) < 0.8
    out = module(query, attention_mask=seen_values, encoder_hidden_states=values, reference_points=reference,
                 spatial_shapes=torch.tensor(MAPS), spatial_shapes_list=MAPS, level_start_index=None)[0]
    seen = torch.randn_like(out)
    (out * seen).sum().backward()
    found = {"query": query, "input": values, "reference": reference, "seen_values": seen_values, "out": out, "seen": seen,
             "grad.query": query.grad, "grad.input": values.grad}
    for key, value in module.named_parameters():
        found |= {f"weight.{key}": value, f"grad.{key}": value.grad}
    tensors.update({f"{name}.{key}": value.detach().clone().contiguous() for key, value in found.items()})


if __name__ == "__main__":
    torch.manual_seed(11)
    tensors = {}
    record(tensors, "points", 2)
    record(tensors, "boxes", 4)
    save_file(tensors, OUT / "deformable.safetensors")
