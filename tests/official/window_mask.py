"""The mask that windowed attention is defined by; the network applies it by tiles."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xappa.model.networks.embedding import list_grid_coordinates


def window_mask(shape: Sequence[int], window: Sequence[int], coords: Tensor | None = None) -> Tensor:
    """Which cells of a grid see each other: (L, L), bool.

    Two cells do if they are at most ``window // 2`` apart along every axis; all axes are taken as round.

    Parameters
    ----------
    shape : sequence of int
        Cells along each axis.
    window : sequence of int
        Extent of the window along each axis, cells.
    coords : Tensor (L, len(shape)), optional
        Cells; default all, in the order of `list_grid_coordinates`.
    """
    coords = list_grid_coordinates(shape) if coords is None else coords
    apart = torch.abs(coords[:, None] - coords[None])
    apart = torch.minimum(apart, apart.new_tensor(tuple(shape)) - apart)
    return (apart <= apart.new_tensor([n // 2 for n in window])).all(-1)
