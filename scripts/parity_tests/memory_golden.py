#!/usr/bin/env python3
"""Writes tests/golden/nn/memory.safetensors: what the MemN2N of github.com/nmhkahn/MemN2N-pytorch (commit a28dd92) answers in three
hops over bags of words, in float64: story, question, A, C (its C_0, and C_1 ... C_3), logits, seen (by which logits are
multiplied before they are summed), grad.A, grad.C.

Needs: torch==2.11.0, safetensors, and a clone of that repository.
Usage: python scripts/parity_tests/memory_golden.py CLONE
"""
import pathlib
import sys

import torch
from safetensors.torch import save_file

sys.path.insert(0, sys.argv[1])
from memn2n.model import MemN2N  # noqa: E402

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "nn"
WORDS, SIZE, HOPS, LONGEST = 9, 5, 3, 4


# Sentences of at least one word; it reads empty ones too, as the paper does not.
def drawn_words(*shape):
    words = torch.randint(1, WORDS, (*shape, LONGEST))
    return words.masked_fill(torch.arange(LONGEST) >= torch.randint(1, LONGEST + 1, (*shape, 1)), 0)


def main():
    torch.manual_seed(0)
    model = MemN2N({"use_cuda": False, "num_vocab": WORDS, "embedding_dim": SIZE, "sentence_size": LONGEST, "max_hops": HOPS})
    model.double()
    model.encoding = torch.ones(LONGEST, SIZE, dtype=torch.double)  # its own is not the paper's
    tables = [model.C[hop].weight for hop in range(HOPS + 1)]
    with torch.no_grad():
        for table in tables:
            table[0] = 0  # of no word; its own is drawn
            table[1:] = torch.randn(WORDS - 1, SIZE)
    story, question = drawn_words(3, 6), drawn_words(3)
    logits = model(story, question)[0]
    seen = torch.randn_like(logits)
    (logits * seen).sum().backward()
    found = {"story": story, "question": question, "logits": logits, "seen": seen, "A": tables[0], "grad.A": tables[0].grad,
             "C": torch.stack(tables[1:]), "grad.C": torch.stack([table.grad for table in tables[1:]])}
    save_file({key: value.detach().clone().contiguous() for key, value in found.items()}, OUT / "memory.safetensors")


if __name__ == "__main__":
    main()
