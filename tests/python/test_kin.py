"""fovea.additive_attend and fovea.attend_paged against their definitions."""

import unittest

import torch

import fovea
from definition import additive_attention, attention, in_double, random_operands


class Additive(unittest.TestCase):
    def check(self, n, m, w, **arguments):
        operands = [*random_operands(n, m, d=12, dv=20), w.requires_grad_()]
        out = fovea.additive_attend(*operands, **arguments)
        exact = additive_attention(*map(in_double, operands), **arguments)
        torch.testing.assert_close(out.double(), exact, rtol=1e-5, atol=1e-5)
        found, expected = (torch.autograd.grad(o.sin().sum(), operands) for o in (out, exact))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

    def test_a_head_each(self):
        self.check(60, 70, torch.randn(2, 12, generator=torch.Generator().manual_seed(4)))

    def test_one_for_all_heads(self):
        self.check(60, 70, torch.linspace(-1, 1, 12), causal=True, window=(30, None))

    def test_by_the_definition(self):
        self.check(3, 7, torch.linspace(-1, 1, 12), key_lengths=torch.tensor([3, 7]))

    def test_weights_and_lse(self):
        q, k, v = random_operands(9, 11)
        w = torch.linspace(-1, 1, 16)
        out, seen = fovea.additive_attend(q, k, v, w, observe=["weights"], return_lse=True)
        self.assertEqual(list(seen), ["lse", "weights"])
        torch.testing.assert_close(seen["weights"] @ v, out)
        scores = torch.tanh(q.unsqueeze(3) + k.unsqueeze(2)) @ w
        torch.testing.assert_close(seen["lse"], scores.logsumexp(-1))

    def test_a_weight_that_is_no_tensor(self):
        with self.assertRaisesRegex(ValueError, r"^\[additive_attend\] w must be a tensor; found float"):
            fovea.additive_attend(*random_operands(9, 11), 1.0)

    def test_what_it_has_not(self):
        q, k, v = random_operands(9, 11)
        w, offsets = torch.ones(16), torch.tensor([0, 2])
        for text, arguments in {
            "no scale": {"scale": 2.0},
            "similarity": {"cosine": 2.0},
            "relative keys": {"relative_keys": torch.ones(1, 3, 16)},
            "only weights and lse": {"observe": ["entropy"]},
            "behind each other": {"cu_seqlens_q": offsets, "cu_seqlens_k": offsets},
        }.items():
            with self.assertRaisesRegex(ValueError, r"^\[additive_attend\] .*" + text):
                fovea.additive_attend(q, k, v, w, **arguments)


class Paged(unittest.TestCase):
    def cache(self, lengths, page=5, heads=2, d=16):
        """Pages in random order, and the keys and values of each sequence that they hold."""
        random = torch.Generator().manual_seed(5)
        most = -(-max(lengths) // page)
        table = torch.randperm(most * len(lengths), generator=random).view(len(lengths), most).int()
        pages = [torch.randn(most * len(lengths), heads, page, d, generator=random) for _ in range(2)]
        rows = lambda p, b: p[table[b].long()].transpose(0, 1).flatten(1, 2)[:, : lengths[b]]
        return *pages, table, torch.tensor(lengths).int(), [[rows(p, b) for p in pages] for b in range(len(lengths))]

    def test_equals_each_sequence_by_itself(self):
        for gqa in (False, True):
            k, v, table, lengths, sequences = self.cache([17, 3, 8])
            q = torch.randn(3, 4 if gqa else 2, 3, 16, generator=torch.Generator().manual_seed(6))
            out = fovea.attend_paged(q, k, v, table, lengths, scale=0.4, enable_gqa=gqa)
            for b, (keys, values) in enumerate(sequences):
                one = [t.unsqueeze(0).double() for t in (q[b], keys, values)]
                exact = attention(*one, scale=0.4, causal="bottom_right")
                torch.testing.assert_close(out[b : b + 1].double(), exact, rtol=1e-5, atol=1e-5)

    def test_gradient(self):
        k, v, table, lengths, sequences = self.cache([17, 9])
        q = torch.randn(2, 2, 2, 16, generator=torch.Generator().manual_seed(6)).requires_grad_()
        out = fovea.attend_paged(q, k, v, table, lengths)
        exact = [attention(q[b : b + 1], *(t[None] for t in sequences[b]), causal="bottom_right") for b in range(2)]
        found, expected = (torch.autograd.grad(o.sin().sum(), q)[0] for o in (out, torch.cat(exact)))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

    def test_groups_are_asked_for(self):
        k, v, table, lengths, _ = self.cache([17, 9])
        with self.assertRaisesRegex(ValueError, r"^\[attend_paged\] .*Pass enable_gqa=True"):
            fovea.attend_paged(torch.randn(2, 4, 1, 16), k, v, table, lengths)

    def test_numbers_that_are_no_tensors(self):
        k, v, table, lengths, _ = self.cache([17, 9])
        with self.assertRaisesRegex(ValueError, r"^\[attend_paged\] table must be a tensor; found ndarray"):
            fovea.attend_paged(torch.randn(2, 2, 1, 16), k, v, table.numpy(), lengths)

    def test_a_wrong_page(self):
        k, v, table, lengths, _ = self.cache([17, 9])
        with self.assertRaisesRegex(ValueError, "a page number must be in"):
            fovea.attend_paged(torch.randn(2, 2, 1, 16), k, v, table + 99, lengths)


if __name__ == "__main__":
    unittest.main()
