r"""Covariances of observation errors that are correlated.

:math:`R = D C D` with deviations D and correlations :math:`C = L L^T`. A covariance offers the product with R; where L
is cheap, also those with its inverse and with the factor that whitens: :math:`W = L^{-1} D^{-1}`, so that
:math:`W R W^T = I`. All are linear, act on the last dimension (leading ones are independent systems) and carry
gradients. They cost O(M); products with R O(M log M) along sequences, and all O(M s) for blocks of s.

References
----------
.. [1] Rue and Held, Gaussian Markov random fields, 2005, section 1.3 (exponential correlation along a line is a
   first-order autoregression: its precision is tridiagonal).
.. [2] Hillis and Steele, Data parallel algorithms, 1986, https://doi.org/10.1145/7902.7903 (prefix scans).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Noise = Callable[[int], Tensor]
"""Number of the draw, from 0 -> standard normal numbers (..., M)."""
LARGEST_BLOCK = 512
NEAREST = 0.9999
"""Correlation beyond which two errors of a sequence count as this much: equal ones would have no inverse."""


class ErrorCovariance(ABC):
    """Covariance R of observation errors.

    Parameters
    ----------
    deviation : Tensor, shape (M,)
        Standard deviations, above zero.
    """

    def __init__(self, deviation: Tensor) -> None:
        self.deviation = deviation

    @property
    def variance(self) -> Tensor:
        """Diagonal of R, shape (M,)."""
        return self.deviation**2

    @abstractmethod
    def __matmul__(self, v: Tensor) -> Tensor:
        """`R v`, for v of shape (..., M)."""

    @abstractmethod
    def errors(self, noise: Noise) -> Tensor:
        """Errors with the covariance R, from ``noise(k)``: standard normal numbers (..., M) of the k-th draw."""


class FactoredCovariance(ErrorCovariance):
    """Covariance whose correlations have a factor L that is cheap, as is its inverse; see `ErrorCovariance`."""

    def whiten(self, v: Tensor) -> Tensor:
        """`W v`, for v of shape (..., M)."""
        return self.decorrelate(v / self.deviation)

    def whiten_adjoint(self, v: Tensor) -> Tensor:
        """`W^T v`, for v of shape (..., M)."""
        return self.decorrelate_adjoint(v) / self.deviation

    def solve(self, v: Tensor) -> Tensor:
        """`R^-1 v`, for v of shape (..., M)."""
        return self.whiten_adjoint(self.whiten(v))

    def __matmul__(self, v: Tensor) -> Tensor:
        """`R v`."""
        return self.deviation * self.correlate(self.correlate_adjoint(v * self.deviation))

    def errors(self, noise: Noise) -> Tensor:
        """Errors with the covariance R, which take one draw."""
        return self.deviation * self.correlate(noise(0))

    @abstractmethod
    def correlate(self, v: Tensor) -> Tensor:
        """`L v`."""

    @abstractmethod
    def correlate_adjoint(self, v: Tensor) -> Tensor:
        """`L^T v`."""

    @abstractmethod
    def decorrelate(self, v: Tensor) -> Tensor:
        """`L^-1 v`."""

    @abstractmethod
    def decorrelate_adjoint(self, v: Tensor) -> Tensor:
        """`L^-T v`."""


class SequenceCovariance(FactoredCovariance):
    r"""Errors along sequences, with correlation :math:`\exp(-|s_i - s_j|)` within each.

    In the order of s, an error depends on the one before only: with :math:`\rho_i = \exp(s_{i-1} - s_i)`,
    :math:`z_i = \rho_i z_{i-1} + \sqrt{1 - \rho_i^2} \, w_i`.

    Parameters
    ----------
    deviation : Tensor, shape (M,)
    sequence : Tensor of int, shape (M,)
        Sequence that each error belongs to; different ones are independent.
    position : Tensor, shape (M,)
        Place s along it, in units of the correlation's length.
    """

    def __init__(self, deviation: Tensor, sequence: Tensor, position: Tensor) -> None:
        super().__init__(deviation)
        order = torch.argsort(position, stable=True)
        order = order[torch.argsort(sequence[order], stable=True)]
        step = torch.diff(position[order], prepend=position[order][:1])
        first = torch.diff(sequence[order], prepend=sequence[order][:1] - 1) != 0
        rho = torch.exp(-step).clamp(max=NEAREST).masked_fill(first, 0.0).to(deviation)
        self.order, self.inverse = order, torch.argsort(order)
        self.rho, self.innovation = rho, (1.0 - rho**2).sqrt()
        lengths = torch.unique_consecutive(sequence[order], return_counts=True)[1]
        self.longest = int(lengths.max()) if lengths.numel() else 0

    def correlate(self, v: Tensor) -> Tensor:
        """`L v`: the recursion."""
        return self._scan(v[..., self.order] * self.innovation, self.rho)[..., self.inverse]

    def correlate_adjoint(self, v: Tensor) -> Tensor:
        """`L^T v`: the recursion backwards."""
        following = torch.cat([self.rho[1:], self.rho.new_zeros(1)])
        swept = self._scan(v[..., self.order].flip(-1), following.flip(0)).flip(-1)
        return (swept * self.innovation)[..., self.inverse]

    def decorrelate(self, v: Tensor) -> Tensor:
        """`L^-1 v`: what is new at each place."""
        z = v[..., self.order]
        before = torch.nn.functional.pad(z[..., :-1], (1, 0))
        return ((z - self.rho * before) / self.innovation)[..., self.inverse]

    def decorrelate_adjoint(self, v: Tensor) -> Tensor:
        """`L^-T v`."""
        w = v[..., self.order] / self.innovation
        after = torch.nn.functional.pad((self.rho * w)[..., 1:], (0, 1))
        return (w - after)[..., self.inverse]

    def _scan(self, b: Tensor, a: Tensor) -> Tensor:
        """Solution of `x_i = a_i x_{i-1} + b_i`, by doubling of the stretch that is solved."""
        shift = 1
        while shift < self.longest:
            b = b + a * torch.nn.functional.pad(b[..., :-shift], (shift, 0))
            a = a * torch.nn.functional.pad(a[:-shift], (shift, 0))
            shift *= 2
        return b


class BlockCovariance(FactoredCovariance):
    """Errors in blocks, with any correlations within each; those in no block are independent.

    Parameters
    ----------
    deviation : Tensor, shape (M,)
    blocks : sequence of (Tensor of int, shape (s,), Tensor, shape (s, s))
        Indices and correlation matrix (positive definite) of each block; no index comes twice. Blocks of more than 512
        are for the caller to divide.
    """

    def __init__(self, deviation: Tensor, blocks: Sequence[tuple[Tensor, Tensor]]) -> None:
        super().__init__(deviation)
        by_size: dict[int, list[tuple[Tensor, Tensor]]] = {}
        for index, matrix in blocks:
            if len(index) > LARGEST_BLOCK:
                raise ValueError(f"A block of {len(index)} correlated errors; at most {LARGEST_BLOCK} are taken")
            by_size.setdefault(len(index), []).append((index, matrix))
        self.parts = [
            (torch.stack([i for i, _ in part]), torch.linalg.cholesky(torch.stack([m for _, m in part]).to(deviation)))
            for part in by_size.values()
        ]

    def correlate(self, v: Tensor) -> Tensor:
        """`L v`."""
        return self._apply_blocks(v, lambda factor, x: factor @ x)

    def correlate_adjoint(self, v: Tensor) -> Tensor:
        """`L^T v`."""
        return self._apply_blocks(v, lambda factor, x: factor.mT @ x)

    def decorrelate(self, v: Tensor) -> Tensor:
        """`L^-1 v`."""
        return self._apply_blocks(v, lambda factor, x: torch.linalg.solve_triangular(factor, x, upper=False))

    def decorrelate_adjoint(self, v: Tensor) -> Tensor:
        """`L^-T v`."""
        return self._apply_blocks(v, lambda factor, x: torch.linalg.solve_triangular(factor.mT, x, upper=True))

    def _apply_blocks(self, v: Tensor, act: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        result = v.clone()
        for index, factor in self.parts:
            result[..., index] = act(factor.expand(*v.shape[:-1], *factor.shape), v[..., index][..., None])[..., 0]
        return result


class JoinedCovariance(FactoredCovariance):
    """Covariances of several groups of errors that are independent of each other; errors in no group are so too.

    Parameters
    ----------
    deviation : Tensor, shape (M,)
        Standard deviation of all errors.
    parts : sequence of (Tensor of int, shape (m,), FactoredCovariance)
        Indices of each group, and a covariance of which the correlations are taken.
    """

    def __init__(self, deviation: Tensor, parts: Sequence[tuple[Tensor, FactoredCovariance]]) -> None:
        super().__init__(deviation)
        self.parts = list(parts)

    def correlate(self, v: Tensor) -> Tensor:
        """`L v`."""
        return self._apply_parts(v, "correlate")

    def correlate_adjoint(self, v: Tensor) -> Tensor:
        """`L^T v`."""
        return self._apply_parts(v, "correlate_adjoint")

    def decorrelate(self, v: Tensor) -> Tensor:
        """`L^-1 v`."""
        return self._apply_parts(v, "decorrelate")

    def decorrelate_adjoint(self, v: Tensor) -> Tensor:
        """`L^-T v`."""
        return self._apply_parts(v, "decorrelate_adjoint")

    def _apply_parts(self, v: Tensor, name: str) -> Tensor:
        result = v.clone()
        for index, part in self.parts:
            result[..., index] = getattr(part, name)(v[..., index])
        return result


class InflatedCovariance(ErrorCovariance):
    r"""Correlated errors of which each has an independent part as well: unit variance, :math:`F C F + (I - F^2)`.

    It has no factor that is cheap, and so takes its own units for white; a solver needs the product only.

    Parameters
    ----------
    correlated : FactoredCovariance
        Its correlations C are taken.
    share : Tensor, shape (M,)
        F: the deviation of the correlated part over that of the whole, between 0 and 1.
    """

    def __init__(self, correlated: FactoredCovariance, share: Tensor) -> None:
        super().__init__(torch.ones_like(share))
        self.correlated, self.share = correlated, share

    def __matmul__(self, v: Tensor) -> Tensor:
        """`R v`."""
        c, f = self.correlated, self.share
        return f * c.correlate(c.correlate_adjoint(f * v)) + (1.0 - f**2) * v

    def errors(self, noise: Noise) -> Tensor:
        """Errors with the covariance R, which take two draws."""
        return self.share * self.correlated.correlate(noise(0)) + (1.0 - self.share**2).sqrt() * noise(1)


class Whitening:
    """The linear map W of a covariance.

    Parameters
    ----------
    covariance : FactoredCovariance
    """

    def __init__(self, covariance: FactoredCovariance) -> None:
        self.covariance = covariance

    def forward(self, v: Tensor) -> Tensor:
        """`W v`."""
        return self.covariance.whiten(v.to(self.covariance.deviation))

    def adjoint(self, u: Tensor) -> Tensor:
        """`W^T u`."""
        return self.covariance.whiten_adjoint(u.to(self.covariance.deviation))


def apply_covariance(covariance: Tensor | ErrorCovariance, v: Tensor) -> Tensor:
    """`R v`, for R given by its diagonal or as a covariance."""
    return covariance @ v if isinstance(covariance, ErrorCovariance) else covariance * v


def extract_variances(covariance: Tensor | ErrorCovariance) -> Tensor:
    """Diagonal of R, for R given by it or as a covariance."""
    return covariance.variance if isinstance(covariance, ErrorCovariance) else covariance
