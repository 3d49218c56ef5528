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


def is_last_norm(name: str, names) -> bool:
    """Whether it is the weight of the norm that ends a residual block's branch: bn3, or bn2 where there is no bn3."""
    block = name.rsplit(".", 2)[0]
    return name == f"{block}.bn3.weight" or (name == f"{block}.bn2.weight" and f"{block}.bn3.weight" not in names)


def fill(module: torch.nn.Module, last_norm: float = 1.0) -> torch.nn.Module:
    """The weights of the norms that end the branches are multiplied by `last_norm`: with 1 a deep network with
    squeeze-and-excitation is chaotic (a relative change of 1e-6 of the input becomes 0.3 of the output)."""
    state = module.state_dict()
    weights = {name: tensor(name, t.shape).to(t.dtype) for name, t in state.items()}
    for name in state:
        if is_last_norm(name, state):
            weights[name] *= last_norm
    module.load_state_dict(weights)
    return module
