"""First values of parameters, which networks that are built for their sizes alone, on the meta device, do not need.

There, draws and arithmetic would let torch import its compiler, which takes longer than reading a model.
"""

from __future__ import annotations

import torch
from torch import Tensor


def draw_normal(*shape: int, divisor: float = 1.0) -> Tensor:
    """Standard normal numbers over `divisor`; on the meta device, none."""
    parameter = torch.empty(shape)
    return parameter if parameter.is_meta else torch.randn(shape) / divisor


def is_built_for_sizes() -> bool:
    """Whether the default device is the meta device."""
    return torch.get_default_device().type == "meta"
