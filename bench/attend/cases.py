"""The calls that are timed, and by how much Fovea shall beat each peer.

Targets are ratios of the best CPU times of one run on one thread, peer / Fovea, on a machine with AVX-512-BF16 and
without AMX. With AMX PyTorch's bfloat16 is packed for it too: plain attention then aims at AMX_TARGET.
"""

import dataclasses
import math

import torch

# Without and with backward.
AMX_TARGET = {False: 1.3, True: 2.0}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclasses.dataclass(frozen=True)
class Case:
    """One call. Sizes as in q (b, h, n, d), k and v (b, hkv, m, d); window as in fovea.attend."""

    name: str
    group: str
    b: int = 1
    h: int = 8
    hkv: int = 8
    n: int = 2048
    m: int = 2048
    d: int = 64
    precision: str = "fp32"
    backward: bool = False
    causal: bool = False
    window: int | None = None  # (window, 0)
    bias: str | None = None  # dense; t5 or swin: from a table
    dropout_p: float = 0.0
    kind: str = "attend"  # observe, projections, observed projections, additive: other calls on the same operands
    cold: bool = False  # operands cycle through more memory than the caches hold
    targets: dict = dataclasses.field(default_factory=dict)

    @property
    def dtype(self):
        return DTYPES[self.precision]

    @property
    def pairs(self):
        """Scores a head that are not masked: what the FLOP rule counts."""
        if self.window is not None:
            full = min(self.window + 1, self.n)
            return full * (full + 1) // 2 + (self.n - full) * (self.window + 1)
        return self.n * (self.n + 1) // 2 if self.causal else self.n * self.m

    @property
    def flops(self):
        """4 d a pair forward (two products), 3.5 times that with the backward (five more)."""
        return 4 * self.b * self.h * self.pairs * self.d * (3.5 if self.backward else 1)

    @property
    def scale(self):
        return 1 / math.sqrt(self.d)


def both(group, forward, backward, **arguments):
    """The case with and without backward, a dict of targets for each; None leaves it out."""
    name = group + "_" + arguments.get("precision", "fp32")
    for targets, suffix in ((forward, "fwd"), (backward, "fwdbwd")):
        if targets is not None:
            yield Case(f"{name}_{suffix}", group, backward=suffix == "fwdbwd", targets=targets, **arguments)


def all_cases():
    yield from both("full", {"sdpa": 1.25, "openvino": 1.05}, {"sdpa": 1.3})
    yield from both("full", {"sdpa": 2.3, "openvino": 1.1}, {"sdpa": 1.8}, precision="bf16")
    yield from both("causal", {"sdpa": 1.5}, {"sdpa": 1.5}, causal=True)
    yield from both("causal", {"sdpa": 2.7}, {"sdpa": 2.1}, causal=True, precision="bf16")
    window = {"n": 8192, "m": 8192, "causal": True, "window": 256}
    yield from both("window", {"flex": 2.3, "sdpa": 16, "sdpa causal": 16}, {"local-attention": 6}, **window)
    yield from both(
        "window", {"flex": 6, "sdpa": 25, "sdpa causal": 25}, {"local-attention": 6}, precision="bf16", **window
    )
    for bias in ("dense", "t5"):
        yield from both(f"bias_{bias}", None, {"sdpa": 1.9}, bias=bias)
        yield from both(f"bias_{bias}", None, {"sdpa": 3}, bias=bias, precision="bf16")
    swin = {"b": 64, "h": 3, "hkv": 3, "n": 49, "m": 49, "d": 32, "bias": "swin"}
    yield from both("swin", {"sdpa": 1.7}, {"sdpa": 2.4}, **swin)
    yield from both("dropout", {"sdpa": 6}, {"sdpa": 3}, dropout_p=0.1)
    decode = {"h": 32, "n": 1, "m": 8192, "d": 128, "cold": True}
    yield from both("decode", {"sdpa": 4.7}, None, **decode)
    yield from both("decode", {"sdpa": 20}, None, precision="bf16", **decode)
    vit = {"b": 8, "h": 12, "hkv": 12, "n": 197, "m": 197}
    yield from both("vit", {"sdpa": 1.3}, {}, **vit)
    yield from both("vit", {"sdpa": 2}, {}, precision="bf16", **vit)
    yield from both("projections", {}, {}, kind="projections")
    # At most 2.3 times as long as the plain call.
    for precision in DTYPES:
        yield from both("observe", {"fovea plain": 1 / 2.3}, None, kind="observe", n=4096, m=4096, precision=precision)
    observed = {"kind": "observed projections", "n": 4096, "m": 4096}
    yield from both("observe_projections", {"mha weights": 1.7}, None, **observed)
    additive = {"kind": "additive", "h": 1, "hkv": 1, "n": 512, "m": 512, "d": 256}
    yield from both("additive", {"composed": 20}, {"composed": 10}, **additive)
    yield from both("long", None, {}, n=65536, m=65536, causal=True, window=1024)


def target(case, peer, amx):
    """None when there is none."""
    plain = case.group in ("full", "causal", "vit") and case.precision == "bf16"
    if amx and plain and peer == "sdpa" and peer in case.targets:
        return AMX_TARGET[case.backward]
    return case.targets.get(peer)
