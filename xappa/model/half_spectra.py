"""Complex fields by zonal wavenumber, without the numbers that are known to be zero.

Of a real field round a circle of an even number of points, the first and the last wavenumber are real. They share a
place: the one as the real, the other as the imaginary part.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

COUNT = "prior.joint_variances"
"""Has one entry a wavenumber, whether others are packed or not."""
NAMES = ("prior.patterns", "prior.joint_vectors", "prior.single_vectors", "prior.rest_vectors")


def pack_spectra(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in which tensors of a Gaussian prior take one wavenumber less, where the outer ones are real.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Those of `NAMES`, if they are there, (wavenumber, ..., 2).
    """
    return {name: _pack(x) if name in NAMES and _is_real(x) else x for name, x in tensors.items()}


def unpack_spectra(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of `pack_spectra`; a state dict that is not packed comes back as it is."""
    count = len(tensors[COUNT]) if COUNT in tensors else 0
    return {name: _unpack(x) if name in NAMES and len(x) == count - 1 else x for name, x in tensors.items()}


def _is_real(x: Tensor) -> bool:
    return len(x) > 2 and not x[0, ..., 1].any() and not x[-1, ..., 1].any()


def _pack(x: Tensor) -> Tensor:
    return torch.cat([torch.stack([x[0, ..., 0], x[-1, ..., 0]], -1)[None], x[1:-1]])


def _unpack(x: Tensor) -> Tensor:
    first, last = (torch.stack([part, torch.zeros_like(part)], -1)[None] for part in x[0].unbind(-1))
    return torch.cat([first, x[1:], last])
