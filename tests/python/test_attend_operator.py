"""fovea.attend as an operator of torch: opcheck, torch.compile, modes that watch operators."""

import unittest

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fovea
from definition import random_operands


class Watch(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.seen.append(str(function))
        return function(*arguments, **(keywords or {}))


class Operator(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)

    def opcheck(self, *arguments, operator=torch.ops.fovea.attend, **keywords):
        results = torch.library.opcheck(operator.default, arguments, keywords)
        self.assertEqual(set(results.values()), {"SUCCESS"})

    def test_opcheck_plain(self):
        self.opcheck(*random_operands(150, 170))

    def test_opcheck_short(self):
        self.opcheck(*random_operands(9, 11, dv=5), causal="top_left")

    def test_opcheck_functors(self):
        self.opcheck(*random_operands(150, 170), window_left=9, softcap=2.0)

    def test_opcheck_every_gradient(self):
        bias, table = (torch.randn(shape, requires_grad=True) for shape in ((150, 170), (2, 25)))
        slopes = torch.tensor([0.5, 0.03125], requires_grad=True)
        self.opcheck(*random_operands(150, 170), slopes, bias, table)

    def test_opcheck_bias_and_weights(self):
        bias = torch.randn(150, 170, requires_grad=True)
        self.opcheck(*random_operands(150, 170), None, bias, observe=["weights"])

    def test_opcheck_bfloat16_weights(self):
        self.opcheck(*random_operands(40, 40, dtype=torch.bfloat16), observe=["weights"])

    def test_opcheck_lse(self):
        self.opcheck(*random_operands(150, 170), observe=["lse", "weights"])
        self.opcheck(*random_operands(150, 170), observe=["lse"])

    def test_opcheck_packed(self):
        q, k, v = (t[0].detach().transpose(0, 1).contiguous().requires_grad_() for t in random_operands(300, 300))
        offsets = torch.tensor([0, 140, 300], dtype=torch.int32)
        self.opcheck(q, k, v, cu_seqlens_q=offsets, cu_seqlens_k=offsets, causal="top_left")

    def test_opcheck_normalisers(self):
        for normaliser in ("softmax_sink", "sigmoid", "sparsemax", "entmax15"):
            with self.subTest(normaliser):
                self.opcheck(*random_operands(40, 50), normaliser=normaliser)
        sinks = torch.tensor([0.5, -1.0], requires_grad=True)
        self.opcheck(*random_operands(150, 170), sinks=sinks, normaliser="softmax_sink")

    def test_opcheck_observations(self):
        names = ["entropy", "distance", "argmax", "received", "top_weights", "top_keys", "blocks", "rows", "lse"]
        sizes = {"top_k": 3, "blocks": [16, 20], "rows": [5, 0]}
        self.opcheck(*random_operands(150, 170), observe=names, **sizes)
        self.opcheck(*random_operands(40, 30, dtype=torch.float64), observe=names, **sizes)

    def test_opcheck_additive(self):
        operator, w = torch.ops.fovea.additive_attend, torch.randn(2, 16, requires_grad=True)
        self.opcheck(*random_operands(40, 50), w, operator=operator)
        bias = torch.randn(40, 50, requires_grad=True)
        self.opcheck(*random_operands(40, 50), w, None, bias, operator=operator, observe=["weights", "lse"])

    def test_opcheck_paged(self):
        table, lengths = torch.arange(6).view(2, 3).int(), torch.tensor([20, 9]).int()
        pages = [torch.randn(6, 2, 8, 16) for _ in range(2)]
        q = torch.randn(2, 4, 3, 16)
        call = lambda *t: self.opcheck(*t, table, lengths, operator=torch.ops.fovea.attend_paged, enable_gqa=True)
        call(q, *pages)
        call(*(t.clone().requires_grad_() for t in (q, *pages)))

    def test_compiled_observations(self):
        operands = random_operands(200, 200)

        def call(q, k, v):
            out, seen = fovea.attend(q, k, v, observe=["received", fovea.TopK(4)])
            return out.square().sum(), seen["received"], seen["top_keys"]

        compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(*operands), call(*operands))
        found, expected = (torch.autograd.grad(f(*operands)[0], operands) for f in (compiled, call))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs)

    def test_compiled_gradient_of_lse(self):
        operands = random_operands(200, 200)

        def call(q, k, v):
            out, seen = fovea.attend(q, k, v, return_lse=True)
            return (out.sum(-1) * seen["lse"]).sum()

        compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
        found, expected = (torch.autograd.grad(f(*operands), operands) for f in (compiled, call))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs)

    def test_compiled_gradient_of_what_does_not_depend_on_v(self):
        for length in (20, 200):
            operands = random_operands(length, length)

            def call(q, k, v):
                _, seen = fovea.attend(q, k, v, return_lse=True, observe=["weights"])
                return seen["lse"].square().sum() + seen["weights"].square().sum()

            compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
            found = torch.autograd.grad(compiled(*operands), operands, allow_unused=True)
            expected = torch.autograd.grad(call(*operands), operands[:2])
            for ours, theirs in zip(found[:2], expected, strict=True):
                torch.testing.assert_close(ours, theirs)
            self.assertTrue(found[2] is None or not found[2].any())

    def test_compiled_equals_eager(self):
        operands = random_operands(200, 200)
        call = lambda q, k, v: fovea.attend(q, k, v, causal=True, window=(50, None)).square().sum()
        compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(*operands), call(*operands))
        found, expected = (torch.autograd.grad(f(*operands), operands) for f in (compiled, call))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs)

    def test_compiled_gradient_of_a_bias_alone(self):
        q, k, v = (t.detach() for t in random_operands(200, 200))
        bias = torch.randn(200, 200, requires_grad=True)
        call = lambda bias: fovea.attend(q, k, v, bias=bias).square().sum()
        compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
        found, expected = (torch.autograd.grad(f(bias), bias)[0] for f in (compiled, call))
        torch.testing.assert_close(found, expected)

    # The compiled backward computes the forward again, with the same weights dropped.
    def test_compiled_dropout(self):
        operands = random_operands(200, 200)
        call = lambda q, k, v: fovea.attend(q, k, v, dropout_p=0.3, seed=5).square().sum()
        compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
        found, expected = (torch.autograd.grad(f(*operands), operands) for f in (compiled, call))
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs)

    def test_a_mode_sees_two_operators(self):
        operands = random_operands(200, 200)
        with Watch() as watch:
            fovea.attend(*operands).sum().backward()
        ours = [name for name in watch.seen if name.startswith("fovea")]
        self.assertEqual(ours, ["fovea.attend.default", "fovea.attend_backward.default"])

    def test_meta_tensors(self):
        q, k, v = (t.detach().to("meta") for t in random_operands(7, 9, dv=5))
        out, seen = fovea.attend(q, k, v, observe=["weights"])
        self.assertEqual((out.shape, seen["weights"].shape), ((2, 2, 7, 5), (2, 2, 7, 9)))

    def test_no_graph_without_gradient(self):
        operands = random_operands(200, 200)
        with torch.no_grad():
            self.assertIsNone(fovea.attend(*operands).grad_fn)
        with torch.inference_mode():
            self.assertFalse(fovea.attend(*operands).requires_grad)


if __name__ == "__main__":
    unittest.main()
