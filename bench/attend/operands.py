"""The tensors of a case."""

import dataclasses

import torch

CACHES = 256 << 20  # more than the last-level cache of the machines at hand
SETS = 3


@dataclasses.dataclass
class Operands:
    """`grad` is the gradient of the result. `bias` is what is added to the scores, made of `table` where there is one."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    grad: torch.Tensor
    bias: torch.Tensor | None = None
    table: torch.Tensor | None = None

    def wanted(self):
        """What a gradient is computed of."""
        return [t for t in (self.q, self.k, self.v, self.table if self.table is not None else self.bias) if t is not None]


def t5_bucket(distance, buckets=32, furthest=128):
    """The row of T5's table for key position - query position, both directions (Raffel et al. 2020, 2.1)."""
    half, exact = buckets // 2, buckets // 4
    size = distance.abs()
    far = exact + (torch.log(size.clamp_min(1) / exact) / torch.log(torch.tensor(furthest / exact)) * (half - exact)).long()
    return (distance > 0) * half + torch.where(size < exact, size, far.clamp_max(half - 1))


def swin_index(side=7):
    """(side^2, side^2): the row of the table for each pair of pixels (Liu et al. 2021, 3.2)."""
    at = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).flatten(1)
    apart = at[:, :, None] - at[:, None, :] + side - 1
    return apart[0] * (2 * side - 1) + apart[1]


def table_index(case):
    """(n, m) rows of the table, and how many it has; None without a table."""
    if case.bias == "t5":
        return t5_bucket(torch.arange(case.m)[None, :] - torch.arange(case.n)[:, None]), 32
    return (swin_index(), 169) if case.bias == "swin" else None


def bias_of(table, index):
    """(1, h, n, m) from (rows, h): the gather that networks do, with its gradient."""
    return table[index.flatten()].view(*index.shape, -1).permute(2, 0, 1).contiguous().unsqueeze(0)


def additive_weights(case):
    """w of additive attention, a number for each hidden unit."""
    return torch.randn(case.d, generator=torch.Generator().manual_seed(1))


def random(generator, case, *shape):
    return torch.randn(shape, generator=generator).to(case.dtype).requires_grad_(case.backward)


def make_operands(case):
    """Sets of operands for the contestants to take turns with. The bias is the same in all, as it is large."""
    generator = torch.Generator().manual_seed(0)
    bias = table = None
    if case.bias == "dense":
        bias = random(generator, case, 1, case.h, case.n, case.m)
    elif case.bias:
        table = random(generator, case, table_index(case)[1], case.h)
    q, kv = (case.b, case.h, case.n, case.d), (case.b, case.hkv, case.m, case.d)
    bytes_of_set = 2 * case.b * case.hkv * case.m * case.d * case.dtype.itemsize
    sets = max(SETS, -(-2 * CACHES // bytes_of_set)) if case.cold else SETS
    made = []
    for _ in range(sets):
        grad = torch.randn(q, generator=generator).to(case.dtype)
        made.append(Operands(*(random(generator, case, *shape) for shape in (q, kv, kv)), grad, bias, table))
    return made
