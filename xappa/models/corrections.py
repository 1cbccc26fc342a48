"""Linear corrections by a matrix of every place, made of parameters of which there are fewer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Correction(nn.Module, ABC):
    """A linear correction by matrices of the places, which follow from parameters of which there are fewer."""

    settled: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("settled", None, persistent=False)

    def matrices_of_places(self) -> Tensor:
        """The matrices, (places, inputs, C), as they are kept or as the parameters are now."""
        return self._of_places() if self.settled is None else self.settled

    def settle(self) -> None:
        """Keep the matrices of all places, which take longer to make than to use: parameters stay as they are now."""
        with torch.no_grad():
            self.settled = self._of_places()

    @abstractmethod
    def _of_places(self) -> Tensor:
        """The matrices as the parameters are now: (places, inputs, C)."""


def settled(network: Network) -> Network:
    """The network, whose parameters stay as they are: what follows from them alone is made once."""
    for part in network.modules():
        if isinstance(part, Correction):
            part.settle()
    return network


def of_places(weights: Tensor, inward: Tensor, outward: Tensor) -> Tensor:
    """Sums of patterns u v^T: weights (places, rank), u (rank, inputs), v (rank, C) to (places, inputs, C)."""
    patterns = (inward[:, :, None] * outward[:, None]).flatten(1)
    return (weights @ patterns).view(-1, inward.shape[1], outward.shape[1])
