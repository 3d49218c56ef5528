"""ONNX Runtime's MultiHeadAttention, and GroupQueryAttention where heads share keys or there is a window.

Both take rows of all heads, (B, T, H D): the operands are brought into that layout before the timing. Inference only,
float32 only on a CPU.
"""

import numpy
import onnxruntime
import torch
from onnx import TensorProto, helper

from attend.operands import bias_of, table_index
from attend.peers import Contestant, Unsupported, inference_only


def rows(t):
    """(B, H, T, D) -> (B, T, H D)"""
    return t.detach().transpose(1, 2).flatten(2).contiguous()


def attention_node(case):
    """The node, and its inputs beside q, k, v by name."""
    if case.h == case.hkv and case.window is None:
        biased = case.bias is not None
        names = ["q", "k", "v"] + (["", "", "attention_bias"] if biased else [])
        return helper.make_node(
            "MultiHeadAttention", names, ["out"], domain="com.microsoft", num_heads=case.h,
            unidirectional=int(case.causal), scale=case.scale,
        ), ["attention_bias"] if biased else []
    names = ["q", "k", "v", "", "", "seqlens_k", "total_sequence_length"]
    return helper.make_node(
        "GroupQueryAttention", names, ["out", "present_k", "present_v"], domain="com.microsoft", num_heads=case.h,
        kv_num_heads=case.hkv, scale=case.scale,
        # It counts the query itself.
        local_window_size=-1 if case.window is None else case.window + 1,
    ), ["seqlens_k", "total_sequence_length"]


def decode_node(case):
    """All keys but the last are in a cache."""
    names = ["q", "k", "v", "past_k", "past_v", "seqlens_k", "total_sequence_length"]
    return helper.make_node(
        "GroupQueryAttention", names, ["out", "present_k", "present_v"], domain="com.microsoft", num_heads=case.h,
        kv_num_heads=case.hkv, scale=case.scale,
    ), ["past_k", "past_v", "seqlens_k", "total_sequence_length"]


def feeds(case, o, decoding):
    """Every input by name, as numpy arrays."""
    kv = slice(case.m - 1, case.m) if decoding else slice(None)
    named = {"q": rows(o.q), "k": rows(o.k[:, :, kv]), "v": rows(o.v[:, :, kv])}
    named["seqlens_k"] = torch.full((case.b,), case.m - 1, dtype=torch.int32)
    named["total_sequence_length"] = torch.tensor([case.m], dtype=torch.int32)
    if decoding:
        # The cache has room for the last key, which is written there in place.
        named["past_k"], named["past_v"] = o.k.detach(), o.v.detach()
    if case.bias:
        named["attention_bias"] = o.bias if o.table is None else bias_of(o.table, table_index(case)[0]).contiguous()
    return {name: t.detach().numpy() for name, t in named.items()}


def session(node, arrays, threads):
    types = {numpy.dtype("float32"): TensorProto.FLOAT, numpy.dtype("int32"): TensorProto.INT32}
    inputs = [helper.make_tensor_value_info(n, types[a.dtype], a.shape) for n, a in arrays.items()]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in node.output]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "attend", inputs, outputs), opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Its threads may spin for work within a run, but not on the cores of who comes after it.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def bind(made, arrays, decoding):
    binding = made.io_binding()
    for name, array in arrays.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    for output in made.get_outputs():
        shared = {"present_k": "past_k", "present_v": "past_v"}.get(output.name) if decoding else None
        if shared:
            binding.bind_ortvalue_output(output.name, onnxruntime.OrtValue.ortvalue_from_numpy(arrays[shared]))
        else:
            binding.bind_output(output.name)
    return binding


def prepare(case, operands, threads):
    inference_only(case)
    if case.precision != "fp32":
        raise Unsupported("its CPU kernels take float32 and float16, not bfloat16")
    decoding = case.n == 1
    node, extra = decode_node(case) if decoding else attention_node(case)
    wanted = ["q", "k", "v", *extra]
    arrays = [{name: feed for name, feed in feeds(case, o, decoding).items() if name in wanted} for o in operands]
    made = session(node, arrays[0], threads)
    bindings = [bind(made, a, decoding) for a in arrays]

    def run(at):
        made.run_with_iobinding(bindings[at])
        return [bindings[at]]

    def outputs(results):
        out = torch.from_numpy(results[0].get_outputs()[0].numpy())
        return [out.view(case.b, case.n, case.h, case.d).transpose(1, 2)]

    return Contestant("onnxruntime", run, outputs, keeps_memory=True)
