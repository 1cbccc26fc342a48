"""A linear reading that takes the fields of one time after the other, so that all need not be there at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from xappa.operators.forward.linear import WhitenedOperator


class FrameOperator(nn.Module):
    """What a reading takes from the fields of one time.

    Parameters
    ----------
    index : Tensor of int, (E,)
        Index of each number in the flattened fields.
    weight : Tensor, (E,)
    """

    index: Tensor
    weight: Tensor

    def __init__(self, index: Tensor, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, fields: Tensor) -> Tensor:
        """Weighted numbers (B, E) of fields (B, channel, latitude, longitude)."""
        flat = fields.flatten(1)
        # Both adjoints add in a fixed order, as in `WhitenedOperator`.
        picked = flat[:, self.index] if flat.is_cuda else flat.index_select(1, self.index)
        return picked * self.weight


class FrameOperators(nn.Module):
    """A reading, taken apart by time: the same numbers, to rounding.

    Parameters
    ----------
    reading : Reading
    """

    place: Tensor

    def __init__(self, reading: WhitenedOperator) -> None:
        super().__init__()
        index, weight = reading.index, reading.weight
        size = reading.shape[1] * reading.shape[2] * reading.shape[3]
        frame = torch.div(index, size, rounding_mode="floor")
        used = weight != 0
        used[:, 0] |= ~used.any(1)
        order, parts = [], []
        for k in range(reading.shape[0]):
            rows, columns = torch.nonzero(used & (frame == k), as_tuple=True)
            parts.append(FrameOperator(index[rows, columns] - k * size, weight[rows, columns]))
            order.append(rows * index.shape[1] + columns)
        self.parts = nn.ModuleList(parts)
        places = torch.cat(order)
        # One more number, zero, is where entries without weight point to.
        place = torch.full((index.numel(),), len(places), dtype=torch.int64, device=index.device)
        place[places] = torch.arange(len(places), device=index.device)
        self.register_buffer("place", place.view(index.shape), persistent=False)

    def forward(self, values: list[Tensor]) -> Tensor:
        """Whitened reports (B, M) of what each of the `parts` gave."""
        flat = torch.cat([*values, torch.zeros_like(values[0][:, :1])], 1)
        place = self.place.flatten()
        picked = flat[:, place] if flat.is_cuda else flat.index_select(1, place)
        return picked.unflatten(1, self.place.shape).sum(-1)
