"""What fovea.attend tells of its weights, against the weights of the definition."""

import unittest

import torch

import fovea
from definition import lse_of, random_operands, weights_of


def mean_of_blocks(weights, queries, keys):
    blocks = [[b.mean((2, 3)) for b in rows.split(keys, 3)] for rows in weights.split(queries, 2)]
    return torch.stack([torch.stack(row, -1) for row in blocks], -2)


def expected(weights):
    """What each name is, of weights (B, H, N, M) in float64 that are nowhere equal."""
    n, m = weights.shape[2:]
    apart = (torch.arange(n)[:, None] - torch.arange(m)).abs()
    top, keys = weights.sort(-1, descending=True)
    return {
        "entropy": torch.special.entr(weights).sum(-1),
        "distance": (weights * apart).sum(-1),
        "argmax": torch.where(top[..., 0] > 0, keys[..., 0], -1),
        "received": weights.sum(2),
        "top_weights": top[..., :5],
        "top_keys": keys[..., :5].masked_fill(top[..., :5] == 0, -1),
        "blocks": mean_of_blocks(weights, 64, 48),
        "rows": weights[:, :, [9, 0, 9]],
    }


EVERYTHING = ("entropy", fovea.TopK(5), "distance", "argmax", fovea.Blocks(64, 48), "received", fovea.Rows([9, 0, 9]))


class Observations(unittest.TestCase):
    def check(self, operands, limit, **arguments):
        q, k, v = operands
        out, seen = fovea.attend(q, k, v, observe=EVERYTHING, **arguments)
        names = ["entropy", "top_weights", "top_keys", "distance", "argmax", "blocks", "received", "rows"]
        self.assertEqual(list(seen), names)
        torch.testing.assert_close(out, fovea.attend(q, k, v, **arguments))
        exact = expected(weights_of(q.double(), k.double(), **{a: arguments[a] for a in arguments if a != "enable_gqa"}))
        for name, result in seen.items():
            with self.subTest(name=name):
                self.assertEqual(result.dtype, exact[name].dtype if name in ("argmax", "top_keys") else torch.float32)
                self.assertFalse(result.requires_grad)
                torch.testing.assert_close(result.double(), exact[name].double(), rtol=limit, atol=limit)

    def test_plain(self):
        self.check(random_operands(200, 170), 2e-5)

    def test_options(self):
        self.check(random_operands(200, 170), 2e-5, causal=True, window=(60, None), softcap=2.0)

    def test_rows_without_a_key(self):
        self.check(random_operands(170, 150), 2e-5, causal="bottom_right", key_lengths=torch.tensor([20, 150]))

    def test_grouped_queries(self):
        self.check(random_operands(150, 160, heads=4, kv_heads=2), 2e-5, enable_gqa=True)

    def test_sink(self):
        self.check(random_operands(150, 160), 2e-5, normaliser="softmax_sink", sinks=torch.tensor([1.0, -1.0]))

    # Beside them the result keeps its gradient.
    def test_gradient_of_the_result(self):
        operands = random_operands(150, 160)
        results = (fovea.attend(*operands, observe=["received"])[0], fovea.attend(*operands))
        for ours, theirs in zip(*(torch.autograd.grad(out.sin().sum(), operands) for out in results), strict=True):
            torch.testing.assert_close(ours, theirs)

    def test_weights(self):
        q, k, v = random_operands(20, 30)
        out, seen = fovea.attend(q, k, v, causal=True, softcap=2.0, observe=["weights"])
        self.assertEqual(list(seen), ["weights"])
        torch.testing.assert_close(seen["weights"], weights_of(q, k, causal=True, softcap=2.0))
        torch.testing.assert_close(out, fovea.attend(q, k, v, causal=True, softcap=2.0))

    def test_lse(self):
        q, k, v = random_operands(200, 150)
        out, seen = fovea.attend(q, k, v, causal=True, softcap=2.0, return_lse=True, observe=["weights"])
        self.assertEqual(list(seen), ["lse", "weights"])
        expected = lse_of(q, k, causal=True, softcap=2.0)
        torch.testing.assert_close(seen["lse"], expected)
        _, fused = fovea.attend(q, k, v, causal=True, softcap=2.0, return_lse=True)
        torch.testing.assert_close(fused["lse"], expected)
        for ours, theirs in zip(*(torch.autograd.grad(lse.sin().sum(), (q, k)) for lse in (fused["lse"], expected))):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

    def test_lse_twice_is_once(self):
        _, seen = fovea.attend(*random_operands(9, 9), return_lse=True, observe=["entropy", "lse"])
        self.assertEqual(list(seen), ["entropy", "lse"])


if __name__ == "__main__":
    unittest.main()
