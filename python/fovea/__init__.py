"""Attention in one fused CPU kernel, forward and backward, as operators of PyTorch.

    import fovea, torch

    q, k, v = (torch.randn(1, 8, 4096, 64, requires_grad=True) for _ in range(3))
    out = fovea.attend(q, k, v, causal=True, window=(256, 0))
    out.sum().backward()
"""

from fovea.attention import additive_attend, attend, attend_paged
from fovea.observations import Blocks, Rows, TopK

__all__ = ["Blocks", "Rows", "TopK", "additive_attend", "attend", "attend_paged"]
__version__ = "0.1.0"
