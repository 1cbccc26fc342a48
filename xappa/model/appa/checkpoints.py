"""Checkpoints of official runs: tensors, and nothing else."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from xappa.errors import ModelError, translate_read_errors


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors of a ``.pth`` file by name, on the CPU, mapped into memory.

    Parameters
    ----------
    file : Path
        What ``torch.save`` wrote of a dict of tensors.

    Raises
    ------
    ModelError
        If it holds other Python objects (whose reading could run any code), is damaged, or isn't a dict of tensors.
    """
    try:
        with translate_read_errors(
            file, "a checkpoint", ModelError, "Fetch or copy it again.", passes=pickle.UnpicklingError
        ):
            values = _load(file)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"the Python object {named.group(1)}" if named else "Python objects, or is no checkpoint"
        raise ModelError(
            f"{file} is refused: it holds {what}, where only tensors are expected. Reading it could run any code. Ask "
            "whom you have it from for a file that torch.load(..., weights_only=True) reads."
        ) from error
    if not isinstance(values, dict) or not all(isinstance(v, Tensor) for v in values.values()):
        held = {type(v).__name__ for v in values.values()} if isinstance(values, dict) else {type(values).__name__}
        raise ModelError(f"{file} holds {', '.join(sorted(held))}; expected a state dict: tensors by name.")
    odd = [str(name) for name, v in values.items() if v.layout != torch.strided or v.is_quantized or v.is_meta]
    if odd:
        raise ModelError(
            f"{file} holds tensors that are sparse, quantised or without values ({', '.join(odd[:8])}); expected plain "
            "ones. Ask whom you have it from for such a file."
        )
    return {str(name): value for name, value in values.items()}


def _load(file: Path) -> object:
    with open(file, "rb") as stream:
        mapped = stream.read(2) == b"PK"  # files from before torch 1.6 are no zip archives, and can't be mapped
    return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped or None)
