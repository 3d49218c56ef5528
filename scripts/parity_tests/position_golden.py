#!/usr/bin/env python3
"""Writes tests/golden/nn/position.safetensors: what transformers and timm make of positions, in float64 but for T5's bias and
ALiBi's slopes, which are float32.

    rotary.x at rotary.positions, turned by LLaMA as rotary.SCALING, by GPT-J as rotary.interleaved
    t5.encoder, t5.decoder: table, and bias of two queries; t5.layer: x, seen, weights, out and gradients
    alibi.H: Bloom's slopes; sine2d, sine2d.plain: DETR's tables (E, rows, columns)
    conditional: Twins' PosConv of x; swin: table and biases of pairs of timm's window attention

Needs: torch==2.11.0, safetensors, transformers==5.23.0, timm.
Usage: python scripts/parity_tests/position_golden.py
"""
import pathlib

import torch
from safetensors.torch import save_file
from timm.models.swin_transformer import WindowAttention
from timm.models.twins import PosConv
from transformers import LlamaConfig, T5Config
from transformers.models.bloom.modeling_bloom import _get_alibi_slopes
from transformers.models.detr.modeling_detr import DetrSinePositionEmbedding
from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb as turn_interleaved
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.t5.modeling_t5 import T5Attention

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "nn"
POSITIONS = torch.tensor([0, 1, 2, 3, 10, 63, 511, 4095, 8191, 30000])
SCALINGS = {
    "default": {"rope_type": "default", "rope_theta": 10000.0},
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    "llama3": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 8192},
    "yarn": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 16.0, "original_max_position_embeddings": 4096},
}


# Angles are float32 in transformers, whatever its operands are: at position 30000 three digits are lost.
def in_float64(make):
    kept = torch.float, torch.float32, torch.Tensor.float
    torch.float, torch.float32, torch.Tensor.float = torch.float64, torch.float64, torch.Tensor.double
    try:
        return make()
    finally:
        torch.float, torch.float32, torch.Tensor.float = kept


def rotary(tensors):
    x = torch.randn(1, 2, len(POSITIONS), 64, dtype=torch.double)
    tensors |= {"rotary.x": x, "rotary.positions": POSITIONS}
    for name, parameters in SCALINGS.items():
        config = LlamaConfig(hidden_size=128, num_attention_heads=2, max_position_embeddings=32768, rope_parameters=parameters)
        cos, sin = in_float64(lambda: LlamaRotaryEmbedding(config)(x, POSITIONS[None]))
        tensors[f"rotary.{name}"] = apply_rotary_pos_emb(x, x, cos, sin)[0]
    angle = POSITIONS[:, None] / 10000.0 ** (torch.arange(0, 64, 2, dtype=torch.double) / 64)
    tensors["rotary.interleaved"] = turn_interleaved(x.transpose(1, 2), angle.sin()[None], angle.cos()[None]).transpose(1, 2)


# Queries 0 and 299 of 300 see every distance.
def t5(tensors):
    for name in ("encoder", "decoder"):
        config = T5Config(d_model=12, d_kv=4, num_heads=3, is_decoder=name == "decoder", dropout_rate=0.0)
        layer = T5Attention(config, has_relative_attention_bias=True, layer_idx=0).eval()
        with torch.no_grad():
            for p in layer.parameters():
                p.copy_(torch.randn_like(p) * 0.5)
        tensors |= {f"t5.{name}.table": layer.relative_attention_bias.weight.clone(),
                    f"t5.{name}.bias": layer.compute_bias(300, 300)[0][:, [0, 299]]}
    layer = T5Attention(T5Config(d_model=12, d_kv=4, num_heads=3, dropout_rate=0.0), has_relative_attention_bias=True).double().eval()
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn_like(p) * 0.5)
    layer.config._attn_implementation = "eager"
    # Its softmax rounds to float32, whatever its operands are.
    softmax = torch.nn.functional.softmax
    torch.nn.functional.softmax = lambda input, dim=None, dtype=None, **_: softmax(input, dim=dim)
    x = torch.randn(2, 150, 12, dtype=torch.double, requires_grad=True)
    out = layer(x)[0]
    torch.nn.functional.softmax = softmax
    seen = torch.randn_like(out)
    (out * seen).sum().backward()
    tensors |= {"t5.layer.x": x, "t5.layer.out": out, "t5.layer.seen": seen, "t5.layer.grad.x": x.grad}
    for key, value in layer.named_parameters():
        tensors |= {f"t5.layer.{key}": value, f"t5.layer.grad.{key}": value.grad}


def grids(tensors):
    for name, normalize in (("sine2d", True), ("sine2d.plain", False)):
        table = DetrSinePositionEmbedding(8, normalize=normalize)(torch.Size((1, 1, 5, 7)), "cpu", torch.double)
        tensors[name] = table[0]
    peg = PosConv(6, 6).double()
    x = torch.randn(2, 20, 6, dtype=torch.double)
    tensors |= {"conditional.x": x, "conditional.out": peg(x, (4, 5)), "conditional.weight": peg.proj[0].weight,
                "conditional.bias": peg.proj[0].bias}
    window = WindowAttention(6, num_heads=2, window_size=(3, 4)).double()
    with torch.no_grad():
        window.relative_position_bias_table.normal_()
    tensors |= {"swin.table": window.relative_position_bias_table, "swin.bias": window._get_rel_pos_bias()[0]}


if __name__ == "__main__":
    torch.manual_seed(21)
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {}
    rotary(tensors)
    t5(tensors)
    grids(tensors)
    for heads in (1, 8, 12, 20):
        tensors[f"alibi.{heads}"] = _get_alibi_slopes(heads, torch.device("cpu"))
    save_file({key: value.detach().clone().contiguous() for key, value in tensors.items()}, OUT / "position.safetensors")
