"""Wrong calls raise Python's own exceptions, with the library's text."""

import unittest

import torch

import fovea
from definition import random_operands


class Errors(unittest.TestCase):
    def refuses(self, text, *operands, error=ValueError, **arguments):
        with self.assertRaises(error) as caught:
            fovea.attend(*(operands or random_operands(4, 6)), **arguments)
        message = str(caught.exception)
        self.assertRegex(message, r"^\[(observe_)?attend")
        self.assertIn(text, message)
        self.assertTrue(message.endswith((".", "?")), message)

    def test_shapes(self):
        q, k, v = random_operands(4, 6)
        self.refuses("must share head_dim; found q (2, 2, 4, 16)", q, k[..., :3], v)
        self.refuses("must have 4 dimensions", q[0], k, v)
        self.refuses("share heads and length", q, k, v[:, :, 1:])

    def test_types(self):
        q, k, v = random_operands(4, 6)
        self.refuses("must share one type", q, k.double(), v)

    def test_numbers_that_are_no_tensors(self):
        q, k, v = random_operands(4, 6)
        self.refuses("q must be a tensor; found ndarray. Convert it with torch.as_tensor().", q.detach().numpy(), k, v)
        self.refuses("bias must be a tensor; found list", q, k, v, bias=[0.0] * 6)

    def test_groups_are_asked_for(self):
        self.refuses("Pass enable_gqa=True", *random_operands(4, 6, heads=4, kv_heads=2))
        self.refuses("must be a multiple", *random_operands(4, 6, heads=3, kv_heads=2), enable_gqa=True)

    def test_no_tensor_without_numbers_beside_others(self):
        q, k, v = random_operands(4, 6)
        meta = k.to("meta")
        self.refuses("all tensors must be on one device", q, meta, v)
        self.refuses("all tensors must be on one device", q, k, v, bias=torch.zeros(4, 6, device="meta"))
        with self.assertRaisesRegex(ValueError, "sizes of blocks must be at least 1"):
            fovea.attend(meta, meta, meta, observe=[fovea.Blocks(0, 1)])

    def test_segments_of_one_side(self):
        q, k, v = random_operands(4, 6)
        ids = torch.zeros(q.shape[0], 6, dtype=torch.int32)
        with self.assertRaisesRegex(ValueError, "segments are of queries and of keys"):
            torch.ops.fovea.attend(q, k, v, key_segments=ids)

    def test_options_of_several_parts(self):
        q, k, v = random_operands(4, 6)
        ids = torch.zeros(q.shape[0], 6, dtype=torch.int32)
        self.refuses("window must be (left, right), whole numbers or None; found int", q, k, v, window=5)
        self.refuses("found ('int', 'int', 'int')", q, k, v, window=(1, 2, 3))
        self.refuses("found ('float', 'int')", q, k, v, window=(1.5, 2))
        self.refuses("found ('Tensor', 'NoneType')", q, k, v, segment_ids=(ids, None))
        self.refuses("block_mask must be", q, k, v, block_mask=(torch.ones(1, 1, 1, 1, dtype=torch.bool), 2.0))
        self.refuses("observe holds names, TopK, Blocks and Rows; found 3", q, k, v, observe=[3])

    def test_segments_beyond_32_bits(self):
        q, k, v = random_operands(4, 4)
        ids = torch.full((q.shape[0], 4), 2**31, dtype=torch.uint32)
        self.refuses("must fit into 32 bits", q, k, v, segment_ids=(ids, ids))

    def test_tangents(self):
        q, k, v = (t.requires_grad_(False) for t in random_operands(4, 6))
        forward = torch.autograd.forward_ad
        direction = torch.randn_like(q)
        with forward.dual_level():
            out = fovea.attend(forward.make_dual(q, direction), k, v)
            tangent = forward.unpack_dual(out).tangent
        wide, along, step = [t.double() for t in (q, k, v)], direction.double(), 1e-5
        ahead, behind = (fovea.attend(wide[0] + way * step * along, *wide[1:]) for way in (1, -1))
        expected = (ahead - behind) / (2 * step)
        self.assertLess((tangent - expected).abs().max().item(), 1e-5)

    def test_packed(self):
        q, k, v = (t[0].transpose(0, 1) for t in random_operands(4, 6))
        offsets = torch.tensor([0, 4], dtype=torch.int32)
        self.refuses("go together", q, k, v, cu_seqlens_q=offsets)
        self.refuses("offsets", q, k, v, cu_seqlens_q=offsets, cu_seqlens_k=offsets)
        self.refuses("only weights and lse", q, q, q, cu_seqlens_q=offsets, cu_seqlens_k=offsets, observe=["argmax"])

    def test_options(self):
        self.refuses("causal must be False, True", causal="upper")
        self.refuses("scale must be finite", scale=float("nan"))
        self.refuses("dropout_p must be in [0, 1)", dropout_p=1.0)
        self.refuses("mask must be boolean", mask=torch.ones(4, 6))
        self.refuses("bias must hold floating point numbers", bias=torch.ones(4, 6, dtype=torch.int32))
        self.refuses("be broadcastable to (B, H, N, M)", bias=torch.ones(5, 6))
        self.refuses("window", window=(-1, 0))
        self.refuses("slopes", alibi_slopes=torch.ones(3))
        self.refuses("softcap", softcap=0.0)
        self.refuses("lengths", key_lengths=torch.tensor([1, 2, 3]))

    def test_normalisers(self):
        self.refuses("Did you mean 'sparsemax'?", normaliser="sparsmax")
        self.refuses("sinks belong to the normaliser softmax_sink", sinks=torch.zeros(2))
        self.refuses("sigmoid_bias to sigmoid", normaliser="softmax_sink", sigmoid_bias=0.0)
        self.refuses("a number for each head", normaliser="softmax_sink", sinks=torch.zeros(3))
        self.refuses("lse needs a softmax", normaliser="sigmoid", return_lse=True)

    def test_observations(self):
        self.refuses("Did you mean 'entropy'?", observe=["entropi"])
        self.refuses(
            "found 'attention map'. Ask for weights, lse, entropy, distance, argmax, received, TopK, Blocks or Rows.",
            observe=["attention map"],
        )
        self.refuses("must be a sequence", observe="entropy")
        self.refuses("each result once", observe=["argmax", "argmax"])
        self.refuses("top_weights needs a size; found none. Ask for it by TopK, Blocks or Rows", observe=["top_weights"])
        self.refuses("rows needs a size", observe=[fovea.Rows([])])
        self.refuses("top_k must be in 1 ... M = 6", observe=[fovea.TopK(7)])
        self.refuses("rows must be queries in [0, N)", observe=[fovea.Rows([4])])
        self.refuses("sizes of blocks", observe=[fovea.Blocks(0, 1)])
        self.refuses("only weights of a softmax", normaliser="sparsemax", observe=["entropy"])

    def test_unknown_option(self):
        with self.assertRaisesRegex(TypeError, "attend.. got an unexpected keyword argument 'casual'"):
            fovea.attend(*random_operands(4, 6), casual=True)


if __name__ == "__main__":
    unittest.main()
