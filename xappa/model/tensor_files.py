"""Safetensors files whose large tensors begin at multiples of 64 bytes, so that they can be used where they are mapped.

Kernels round differently, and are slower, on numbers at other addresses; the library's own files begin anywhere.

References
----------
Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

ALIGNMENT = 64  # bytes: a cache line, and the widest vector of today's processors
_NAMES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.bool: "BOOL",
}


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as a safetensors file, one after the other.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Of any device and layout.
    path : Path
    """
    # The format allows no gaps: sizes that would shift the next tensor come last.
    names = sorted(tensors, key=lambda name: (tensors[name].nbytes % ALIGNMENT != 0, name))
    header, offset = {}, 0
    for name in names:
        tensor = tensors[name]
        end = offset + tensor.nbytes
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in names:
            flat = tensors[name].detach().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)


def align_tensor(tensor: Tensor) -> Tensor:
    """The tensor, copied if it does not begin at a multiple of 64 bytes."""
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()
