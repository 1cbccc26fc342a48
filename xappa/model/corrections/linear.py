"""Linear corrections by a matrix of every place, made of parameters of which there are fewer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from xappa.model.networks.initial import draw_normal

Network = TypeVar("Network", bound=nn.Module)


class LinearCorrection(nn.Module, ABC):
    """A linear correction by matrices of the places, which follow from parameters of which there are fewer."""

    after_network: ClassVar[bool] = False
    """Whether a denoiser's network is spared the correction, which is fitted to what the network leaves."""

    tensor_name: ClassVar[str]
    """What files of tensors call it; {} is its number among those of its class."""

    cached: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cached", None, persistent=False)

    def get_matrices(self) -> Tensor:
        """The matrices, (places, inputs, C), as they are kept or as the parameters are now."""
        return self._compute_matrices() if self.cached is None else self.cached

    def cache_matrices(self) -> None:
        """Keep the matrices of all places, which take longer to make than to use: parameters stay as they are now."""
        with torch.no_grad():
            self.cached = self._compute_matrices()

    @abstractmethod
    def _compute_matrices(self) -> Tensor:
        """The matrices as the parameters are now: (places, inputs, C)."""


class PatternCorrection(LinearCorrection):
    """M of a place is the sum of `rank` patterns u v^T that all places share, each with a weight at every place.

    To begin with, nothing is corrected.

    Parameters
    ----------
    places, inputs, outputs : int
        Size of the matrices, (places, inputs, outputs).
    rank : int

    References
    ----------
    Kolda and Bader (2009), Tensor decompositions and applications, SIAM Review 51, section 3,
    https://doi.org/10.1137/07070111X
    """

    def __init__(self, places: int, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(places, rank))
        self.inward = nn.Parameter(draw_normal(rank, inputs, divisor=inputs**0.5))
        self.outward = nn.Parameter(draw_normal(rank, outputs, divisor=outputs**0.5))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Sizes of the matrices: (places, inputs, outputs)."""
        return self.weights.shape[0], self.inward.shape[1], self.outward.shape[1]

    def _compute_matrices(self) -> Tensor:
        return combine_patterns(self.weights, self.inward, self.outward)


def cache_matrices(network: Network) -> Network:
    """The network, whose parameters stay as they are: what follows from them alone is made once."""
    for part in network.modules():
        if isinstance(part, LinearCorrection):
            part.cache_matrices()
    return network


def combine_patterns(weights: Tensor, inward: Tensor, outward: Tensor) -> Tensor:
    """Sums of patterns u v^T: weights (places, rank), u (rank, inputs), v (rank, C) to (places, inputs, C)."""
    patterns = (inward[:, :, None] * outward[:, None]).flatten(1)
    return (weights @ patterns).view(-1, inward.shape[1], outward.shape[1])
