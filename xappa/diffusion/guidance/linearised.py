r"""A map and its derivative at a point, matrix-free.

With :math:`J` the Jacobian of :math:`A` at :math:`x`, reverse mode gives :math:`J^T u`. That is linear in :math:`u`,
and its own derivative with respect to :math:`u`, by reverse mode again, is :math:`v \mapsto J v`. Both run on the graph
of one evaluation; forward mode would evaluate A anew for each product.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor


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
