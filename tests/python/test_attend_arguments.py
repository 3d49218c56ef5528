"""Each argument of fovea.attend, and combinations, against the definition in float64: outputs and gradients."""

import unittest

import torch

import fovea
from definition import attention, in_double, random_operands


def lengths(m):
    return torch.tensor([m // 3, m], dtype=torch.int32)


def segments(n, m):
    """Documents of unequal length; the last key's has no query."""
    at = lambda length, other: (torch.arange(length) * 3 // other).to(torch.int32).expand(2, -1).contiguous()
    return at(n, n), at(m, m - 1)


def slopes(batch=None):
    values = torch.tensor([0.5, 0.03125])
    return (values if batch is None else values * torch.arange(1, batch + 1)[:, None]).requires_grad_()


def every_call(n, m):
    """Keyword arguments of the calls to check, for n queries and m keys."""
    random = torch.Generator().manual_seed(1)
    yield {}
    yield {"scale": 0.3}
    yield {"causal": True}
    yield {"causal": "bottom_right"}
    yield {"window": (5, 2)}
    yield {"window": (None, 3)}
    yield {"window": (7, None)}
    yield {"causal": True, "window": (6, 0)}
    yield {"causal": "bottom_right", "window": (40, None)}
    yield {"softcap": 1.5}
    yield {"alibi_slopes": slopes()}
    yield {"alibi_slopes": slopes(batch=2), "softcap": 2.0, "causal": True}
    yield {"relative_table": torch.randn(2, 2 * 12 + 1, generator=random).requires_grad_()}
    yield {"relative_table": torch.randn(1, 2 * n + 1, generator=random).requires_grad_(), "window": (20, 4)}
    blocks = lambda size: (torch.rand(2, 2, -(-n // size), -(-m // size), generator=random) < 0.5, size)
    yield {"block_mask": blocks(16)}
    yield {"block_mask": blocks(20), "causal": True}
    yield {"key_lengths": lengths(m)}
    yield {"key_lengths": lengths(m), "causal": True, "softcap": 3.0}
    yield {"segment_ids": segments(n, m)}
    yield {"segment_ids": segments(n, m), "window": (9, 9)}
    yield {"mask": torch.rand(2, 1, n, m, generator=random) < 0.5}
    yield {"mask": torch.rand(n, m, generator=random) < 0.5, "causal": True}
    yield {"normaliser": "softmax_sink"}
    yield {"normaliser": "softmax_sink", "sinks": torch.tensor([0.5, -1.0]).requires_grad_(), "causal": True}
    yield {"normaliser": "sigmoid", "window": (20, 4)}
    yield {"normaliser": "sigmoid", "sigmoid_bias": -2.0, "key_lengths": lengths(m)}
    yield {"cosine": 8.0}
    yield {"cosine": torch.tensor([10.0, 3.0]).requires_grad_(), "window": (20, 4)}
    yield {"gaussian": 2.0, "causal": True}
    yield {"gaussian": torch.tensor([1.5, 3.0]).requires_grad_()}
    yield {"relative_keys": (0.3 * torch.randn(2, 21, 16, generator=random)).requires_grad_()}
    yield {"bias": torch.randn(1, 2, n, m, generator=random).requires_grad_()}
    yield {"bias": torch.randn(2, 1, 1, m, generator=random).requires_grad_(), "window": (30, 30)}


class Arguments(unittest.TestCase):
    def check(self, operands, arguments, limit):
        parts = [p for a in arguments.values() for p in (a if isinstance(a, tuple) else (a,))]
        inputs = operands + [p for p in parts if isinstance(p, torch.Tensor) and p.requires_grad]
        out = fovea.attend(*operands, **arguments)
        exact = attention(*map(in_double, operands), **{name: in_double(a) for name, a in arguments.items()})
        self.assertEqual(out.dtype, operands[0].dtype)
        self.assert_close(out, exact, limit)
        weights = torch.randn(exact.shape, generator=torch.Generator().manual_seed(2)).to(out.dtype)
        found = torch.autograd.grad(out, inputs, weights)
        expected = torch.autograd.grad(exact, inputs, weights.double())
        for ours, theirs in zip(found, expected, strict=True):
            self.assert_close(ours, theirs, limit)

    def assert_close(self, ours, theirs, limit):
        self.assertEqual(ours.shape, theirs.shape)
        error = (ours.double() - theirs.double()).norm() / theirs.double().norm().clamp_min(1e-30)
        self.assertLessEqual(error.item(), limit)

    # Lengths below and above those from which the fused kernel takes calls with gradients.
    def check_lengths(self, n, m):
        for arguments in every_call(n, m):
            with self.subTest(n=n, m=m, **{name: str(value)[:40] for name, value in arguments.items()}):
                self.check(random_operands(n, m), arguments, 1e-5)

    def test_short(self):
        self.check_lengths(17, 33)

    def test_long(self):
        self.check_lengths(200, 257)

    def test_more_queries_than_keys(self):
        self.check_lengths(257, 150)

    # Rounding of weights and results to 8 bits.
    def test_bfloat16(self):
        for arguments in ({}, {"causal": True}, {"window": (20, 3), "alibi_slopes": slopes()}):
            with self.subTest(**arguments):
                self.check(random_operands(300, 300, dtype=torch.bfloat16), arguments, 8e-3)

    def test_grid(self):
        for height, width in ((3, 5), (12, 17)):
            table = torch.randn(2, (2 * height - 1) * (2 * width - 1)).requires_grad_()
            n = height * width
            self.check(random_operands(n, n), {"relative_grid": (table, height, width)}, 1e-5)

    def test_grouped_queries(self):
        operands = random_operands(200, 257, heads=6, kv_heads=2, d=24, dv=40)
        self.check(operands, {"causal": "bottom_right", "enable_gqa": True}, 1e-5)

    def test_layout_of_rows_is_free(self):
        q, k, v = random_operands(300, 300)
        moved = [t.detach().transpose(1, 2).contiguous().transpose(1, 2) for t in (q, k, v)]
        self.assertTrue(torch.equal(fovea.attend(*moved, causal=True), fovea.attend(q, k, v, causal=True)))

    def test_no_queries_or_keys(self):
        q, k, v = random_operands(3, 0)
        self.assertTrue(torch.equal(fovea.attend(q, k, v), torch.zeros(2, 2, 3, 16)))
        self.assertEqual(fovea.attend(*random_operands(0, 5)).shape, (2, 2, 0, 16))


class SparseNormalisers(unittest.TestCase):
    def check(self, normaliser):
        q, k, v = random_operands(40, 50)
        arguments = {"normaliser": normaliser, "causal": "bottom_right", "softcap": 3.0}
        expected = attention(q.double(), k.double(), v.double(), **arguments)
        torch.testing.assert_close(fovea.attend(q, k, v, **arguments).double(), expected, rtol=1e-5, atol=1e-5)
        _, seen = fovea.attend(q, k, v, observe=["weights"], **arguments)
        self.assertTrue((seen["weights"] == 0.0).float().mean() > 0.6)

    def test_sparsemax(self):
        self.check("sparsemax")

    def test_entmax15(self):
        self.check("entmax15")


class Packed(unittest.TestCase):
    def test_equals_each_sequence_by_itself(self):
        batched = random_operands(400, 500, heads=4, kv_heads=2)
        q, k, v = (t[0].detach().transpose(0, 1).requires_grad_() for t in batched)
        query_offsets, key_offsets = (torch.tensor(o, dtype=torch.int32) for o in ((0, 150, 150, 400), (0, 200, 230, 500)))
        arguments = {"causal": "bottom_right", "enable_gqa": True}
        out = fovea.attend(q, k, v, cu_seqlens_q=query_offsets, cu_seqlens_k=key_offsets, **arguments)
        pieces = []
        for s in range(3):
            queries, keys = (slice(int(o[s]), int(o[s + 1])) for o in (query_offsets, key_offsets))
            one = [t.transpose(0, 1).unsqueeze(0).double() for t in (q[queries], k[keys], v[keys])]
            pieces.append(attention(*one, **arguments)[0].transpose(0, 1))
        exact = torch.cat(pieces)
        torch.testing.assert_close(out.double(), exact, rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(*(torch.autograd.grad(o.sin().sum(), (q, k, v)) for o in (out, exact))):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


class Dropout(unittest.TestCase):
    # Weights are uniform and values 1, so each result is the kept part of its row over what is expected to be kept.
    def test_keeps_the_expected_part(self):
        q, k, v = torch.zeros(1, 1, 400, 8), torch.zeros(1, 1, 500, 8), torch.ones(1, 1, 500, 8)
        torch.manual_seed(3)
        out = fovea.attend(q, k, v, dropout_p=0.25)[0, 0, :, 0]
        deviation = (0.25 / 0.75 / 500) ** 0.5
        self.assertAlmostEqual(out.mean().item(), 1.0, delta=4 * deviation / 400**0.5)
        self.assertAlmostEqual(out.std().item(), deviation, delta=0.2 * deviation)

    def test_seed_decides(self):
        operands = random_operands(150, 150)
        call = lambda seed: fovea.attend(*operands, dropout_p=0.5, seed=seed)
        first, gradients = call(7), torch.autograd.grad(call(7).sum(), operands)
        torch.manual_seed(1)
        self.assertTrue(torch.equal(first, call(7)))
        self.assertFalse(torch.equal(first, call(8)))
        for once, again in zip(gradients, torch.autograd.grad(call(7).sum(), operands), strict=True):
            self.assertTrue(torch.equal(once, again))

    def test_torch_seed_repeats_it(self):
        q, k, v = random_operands(150, 150)
        torch.manual_seed(5)
        first, second = (fovea.attend(q, k, v, dropout_p=0.5) for _ in range(2))
        torch.manual_seed(5)
        self.assertTrue(torch.equal(first, fovea.attend(q, k, v, dropout_p=0.5)))
        self.assertFalse(torch.equal(first, second))


if __name__ == "__main__":
    unittest.main()
