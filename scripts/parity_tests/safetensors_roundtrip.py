"""safetensors_roundtrip.py OURS THEIRS: checks a file that fovea wrote, and writes it again with Python's safetensors.

OURS must hold the tensors that safetensors_golden.py makes, bit by bit.
"""
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from safetensors_golden import DTYPES, SHAPES, pattern


def main():
    ours, theirs = sys.argv[1:]
    with safe_open(ours, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        metadata = file.metadata()
    expected = {f"{dtype}.{shape}" for dtype in DTYPES for shape in SHAPES} - {"float4_e2m1fn_x2.scalar"}
    assert set(tensors) == expected, set(tensors) ^ expected
    for name, tensor in tensors.items():
        dtype, shape = name.split(".")
        wanted = pattern(getattr(torch, dtype), SHAPES[shape])
        assert tensor.dtype == wanted.dtype and tensor.shape == wanted.shape, name
        assert tensor.numel() == 0 or bytes(tensor.untyped_storage()) == bytes(wanted.untyped_storage()), name
    save_file(tensors, theirs, metadata=metadata)


if __name__ == "__main__":
    main()
