"""Names of types that many files use."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

Array: TypeAlias = np.ndarray

# As text: files that know no tensors use the other names.
Denoise: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""(x_t (B, ...), sigma 0-d) -> estimate of x, like x_t."""
