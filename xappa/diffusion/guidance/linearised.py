r"""A map and its derivative at a point, matrix-free.

With :math:`J` the Jacobian of :math:`A` at :math:`x`, reverse mode gives :math:`J^T u`. That is linear in :math:`u`,
and its own derivative with respect to :math:`u`, by reverse mode again, is :math:`v \mapsto J v`. Both run on the graph
of one evaluation; forward mode would evaluate A anew for each product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class LinearMap(Protocol):
    """A linear map and its transpose."""

    def forward(self, v: Tensor) -> Tensor:
        """The map applied to `v`."""

    def adjoint(self, u: Tensor) -> Tensor:
        """Its transpose applied to `u`."""


@dataclass(frozen=True)
class Product:
    """One linear map after another: `outer` of `inner`."""

    outer: LinearMap
    inner: LinearMap

    def forward(self, v: Tensor) -> Tensor:
        """See `LinearMap`."""
        return self.outer.forward(self.inner.forward(v))

    def adjoint(self, u: Tensor) -> Tensor:
        """See `LinearMap`."""
        return self.inner.adjoint(self.outer.adjoint(u))


@dataclass(frozen=True)
class Diagonal:
    """Multiplication by a tensor."""

    factor: Tensor

    def forward(self, v: Tensor) -> Tensor:
        """See `LinearMap`."""
        return self.factor * v

    def adjoint(self, u: Tensor) -> Tensor:
        """See `LinearMap`."""
        return self.factor * u


class Linearised:
    """`function` around `point`.

    Parameters
    ----------
    function : callable
        Differentiable twice.
    point : Tensor
    """

    def __init__(self, function: Callable[[Tensor], Tensor], point: Tensor) -> None:
        with torch.enable_grad():
            self.point = point.detach().requires_grad_()
            self.graph = function(self.point)
        self.value = self.graph.detach()

    def adjoint(self, u: Tensor) -> Tensor:
        """`J^T u`: like the point, for u like the value."""
        (v,) = torch.autograd.grad(self.graph, self.point, u.to(self.graph), retain_graph=True)
        return v

    def forward(self, v: Tensor) -> Tensor:
        """`J v`: like the value, for v like the point."""
        probe, image = self._transposed
        (u,) = torch.autograd.grad(image, probe, v.to(image), retain_graph=True)
        return u

    @cached_property
    def _transposed(self) -> tuple[Tensor, Tensor]:
        probe = torch.zeros_like(self.graph, requires_grad=True)
        (image,) = torch.autograd.grad(self.graph, self.point, probe, create_graph=True)
        return probe, image


class LinearFunction(Linearised):
    """A function that is linear already: it is its own derivative, at every point.

    Parameters
    ----------
    function : callable
        Linear and differentiable.
    like : Tensor
        What it acts on has this shape, type and device.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], like: Tensor) -> None:
        super().__init__(function, torch.zeros_like(like))
        self.function = function

    def forward(self, v: Tensor) -> Tensor:
        """The function itself: no graph is needed."""
        with torch.no_grad():
            return self.function(v)
