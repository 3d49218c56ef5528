"""Who is compared. A peer is a function (case, sets of operands, threads) -> Contestant; it raises Unsupported when it has
no such call. Everything that is done once, compiling included, happens there and is not timed."""

import dataclasses
from collections.abc import Callable

import torch


class Unsupported(Exception):
    """The peer has no way to say this."""


@dataclasses.dataclass
class Contestant:
    """`run(set)` does the work once and returns the result and the gradients of q, k, v, (B, H, T, D); `outputs` makes
    that of what `run` returns, outside the timing."""

    name: str
    run: Callable[[int], list]
    outputs: Callable[[list], list] = lambda results: results
    exact: bool = True  # False: computes something else, or random numbers
    keeps_memory: bool = False


def torch_contestant(name, case, operands, call, *, exact=True):
    """One whose call(operands) is made of differentiable tensor operations."""

    def forward(index):
        with torch.no_grad():
            return [call(operands[index])]

    def forward_and_backward(index):
        chosen = operands[index]
        out = call(chosen)
        return [out, *torch.autograd.grad(out, chosen.wanted(), chosen.grad)]

    return Contestant(name, forward_and_backward if case.backward else forward, exact=exact and not case.dropout_p)


def no_dropout(case):
    if case.dropout_p:
        raise Unsupported("has no dropout")


def inference_only(case):
    if case.backward:
        raise Unsupported("has no backward")
    no_dropout(case)
