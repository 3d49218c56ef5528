"""Finds and loads the compiled operators, `torch.ops.fovea`."""

import os
import pathlib

import torch

TORCH_VERSION = "2.11.0"


def library_path() -> pathlib.Path:
    """FOVEA_TORCH_LIBRARY, or the file that scripts/build-python puts beside this one."""
    named = os.environ.get("FOVEA_TORCH_LIBRARY")
    return pathlib.Path(named) if named else pathlib.Path(__file__).with_name("libfovea_torch.so")


def load_operators() -> None:
    """Raises ImportError when torch is another version than the operators were made for, or the file is missing."""
    found = torch.__version__.split("+")[0]
    if found != TORCH_VERSION:
        raise ImportError(f"[fovea] torch must be {TORCH_VERSION}; found {found}. pip install torch=={TORCH_VERSION}.")
    path = library_path()
    if not path.is_file():
        raise ImportError(f"[fovea] the compiled operators are missing; found no {path}. Run scripts/build-python.")
    torch.ops.load_library(str(path))


load_operators()
