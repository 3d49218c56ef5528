"""Gradients: by finite differences, and against PyTorch's scaled_dot_product_attention."""

import unittest

import torch
from torch.nn.functional import scaled_dot_product_attention

import fovea
from definition import random_operands


class FiniteDifferences(unittest.TestCase):
    def check(self, **arguments):
        operands = random_operands(5, 7, d=3, dtype=torch.float64)
        call = lambda *t: fovea.attend(*t, **arguments)
        self.assertTrue(torch.autograd.gradcheck(call, operands))
        self.assertTrue(torch.autograd.gradgradcheck(call, operands))

    def test_plain(self):
        self.check()

    def test_masks_and_scores(self):
        self.check(causal="bottom_right", window=(3, None), softcap=2.0)

    def test_sparse_normalisers(self):
        self.check(normaliser="sparsemax", causal="bottom_right")
        self.check(normaliser="entmax15", causal="bottom_right")


class AgainstPyTorch(unittest.TestCase):
    def check(self, operands, limit, ours, theirs):
        out, other = fovea.attend(*operands, **ours), scaled_dot_product_attention(*operands, **theirs)
        gradient = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
        pairs = zip(
            (out, *torch.autograd.grad(out, operands, gradient)),
            (other, *torch.autograd.grad(other, operands, gradient)),
        )
        for found, expected in pairs:
            error = (found.float() - expected.float()).norm() / expected.float().norm()
            self.assertLessEqual(error.item(), limit)

    def test_full(self):
        self.check(random_operands(300, 200, heads=3, d=64), 5e-6, {}, {})

    def test_causal(self):
        self.check(random_operands(300, 300, d=32), 5e-6, {"causal": True}, {"is_causal": True})

    def test_grouped_queries(self):
        operands = random_operands(300, 300, heads=4, kv_heads=2, d=64)
        self.check(operands, 5e-6, {"enable_gqa": True}, {"enable_gqa": True})

    # PyTorch rounds the sums of its gradients to bfloat16, which is what this limit allows for.
    def test_bfloat16(self):
        operands = random_operands(512, 512, d=64, dtype=torch.bfloat16)
        self.check(operands, 1e-2, {"causal": True}, {"is_causal": True})


if __name__ == "__main__":
    unittest.main()
