"""OpenVINO's scaled_dot_product_attention, compiled for the precision of the operands. Inference only."""

import openvino
import torch
from openvino import opset13

from attend.exact import hidden
from attend.operands import bias_of, table_index
from attend.peers import Contestant, Unsupported, inference_only

TYPES = {"fp32": (openvino.Type.f32, "f32"), "bf16": (openvino.Type.bf16, "bf16")}


def shared(tensor, element):
    """An openvino.Tensor over the memory of one of torch's."""
    if element == openvino.Type.bf16:
        return openvino.Tensor(tensor.view(torch.uint16).numpy(), list(tensor.shape), element)
    return openvino.Tensor(tensor.numpy(), shared_memory=True)


def folded(case):
    """Query heads that share keys become queries of one head, as its operator wants one key head each. Only where no
    order of the queries matters."""
    if case.h != case.hkv and case.n != 1:
        raise Unsupported("has no shared keys")
    return [case.b, case.hkv, case.h // case.hkv * case.n, case.d]


def model(case, element, mask):
    q_shape, kv_shape = folded(case), [case.b, case.hkv, case.m, case.d]
    inputs = [opset13.parameter(shape, element, name=n) for n, shape in zip("qkv", (q_shape, kv_shape, kv_shape))]
    q, k, v = inputs
    if mask is None:
        out = opset13.scaled_dot_product_attention(q, k, v, causal=case.causal)
    else:
        inputs.append(opset13.parameter(list(mask.shape), element, name="mask"))
        out = opset13.scaled_dot_product_attention(q, k, v, inputs[-1], causal=False)
    return openvino.Model([out], inputs)


def added_to_scores(case, operands):
    if case.window is not None:
        seen = torch.zeros(1, 1, case.n, case.m)
        return seen.masked_fill(hidden(case, torch.arange(case.n), torch.arange(case.m)), -torch.inf)
    if operands[0].table is not None:
        return bias_of(operands[0].table, table_index(case)[0]).contiguous()
    return operands[0].bias


def prepare(case, operands, threads):
    inference_only(case)
    element, hint = TYPES[case.precision]
    mask = added_to_scores(case, operands)
    settings = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    compiled = openvino.Core().compile_model(model(case, element, mask), "CPU", settings)
    requests = []
    for o in operands:
        request, out = compiled.create_infer_request(), torch.empty_like(o.q)
        bound = [o.q.view(folded(case)), o.k, o.v] + ([] if mask is None else [mask.to(case.dtype)])
        for place, tensor in enumerate(bound):
            request.set_input_tensor(place, shared(tensor, element))
        request.set_output_tensor(0, shared(out.view(folded(case)), element))
        requests.append((request, out, bound))

    def run(at):
        requests[at][0].infer()
        return [requests[at][1]]

    return Contestant("openvino", run, keeps_memory=True)
