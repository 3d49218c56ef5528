"""Weights and inputs as a pure function of (name, index), the same in C++ (tests/models/formula.h).

No weights need to be stored with a golden output, and a wrong name or shape in a state dict shows as a wrong output.
"""

import math

import numpy as np
import torch

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


def fnv1a(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def uniform(name: str, count: int) -> np.ndarray:
    """float64 multiples of 2^-24 in [0, 1): SplitMix64 seeded with FNV-1a of the name."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a(name)) + np.arange(1, count + 1, dtype=np.uint64) * GOLDEN_RATIO
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2.0**24


def values(name: str, shape) -> np.ndarray:
    """Values of a size that keeps activations near 1, and that leaves nothing trivially 0 or 1."""
    count = math.prod(shape)
    u = uniform(name, count)
    s = 2.0 * u - 1.0
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        v = 0.0 * u
    elif last == "running_var":
        v = 0.5 + u
    elif last in ("running_mean", "bias"):
        v = 0.1 * s
    elif last in ("cls_token", "pos_embed"):
        v = 0.5 * s
    elif last == "input":
        v = 1.5 * s
    elif len(shape) <= 1:
        v = 0.75 + 0.5 * u
    else:
        v = s * math.sqrt((6.0 if len(shape) == 4 else 3.0) * shape[0] / count)
    return v.astype(np.float32).reshape(shape)


def tensor(name: str, shape) -> torch.Tensor:
    return torch.from_numpy(values(name, tuple(shape)))


def fill(module: torch.nn.Module) -> torch.nn.Module:
    state = module.state_dict()
    module.load_state_dict({name: tensor(name, t.shape).to(t.dtype) for name, t in state.items()})
    return module
