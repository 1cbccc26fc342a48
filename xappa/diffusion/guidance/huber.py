r"""The Huber norm: a likelihood that gross errors cannot pull far.

With residuals :math:`r = (y - A(x)) / \sigma_o` and a threshold :math:`\delta`, minus the logarithm of the likelihood
is

.. math:: \rho(r) = r^2 / 2 \quad (|r| \le \delta), \qquad \rho(r) = \delta |r| - \delta^2 / 2 \quad (|r| > \delta).

Within the threshold that is the Gaussian one. Beyond it the pull on the state, :math:`\rho'(r)`, stays :math:`\delta`,
however wrong the report. The same pull is that of a Gaussian with the variance :math:`\sigma_o^2 / w(r)`,
:math:`w(r) = \min (1, \delta / |r|)`; weights and state are found in turn (iteratively re-weighted least squares). The
residual is that of the estimate given the observations, not of the plain denoiser's estimate, which at a high noise
level is far from every observation.

The norm is convex: there is one solution, to which the iteration converges from any weights.

References
----------
.. [1] Huber, Robust estimation of a location parameter, 1964, https://doi.org/10.1214/aoms/1177703732
.. [2] Tavolato and Isaksen, On the use of a Huber norm for observation quality control in the ECMWF 4D-Var, 2015,
   https://doi.org/10.1002/qj.2440
.. [3] Holland and Welsch, Robust regression using iteratively reweighted least-squares, 1977,
   https://doi.org/10.1080/03610927708827533
"""

from __future__ import annotations

import torch
from torch import Tensor


def weights(residual: Tensor, threshold: float) -> Tensor:
    r"""Share :math:`w(r)` of their inverse variance that observations keep.

    Parameters
    ----------
    residual : Tensor
        In deviations of the observations' errors.
    threshold : float
        :math:`\delta`, in the same units.

    Returns
    -------
    Tensor
        Like `residual`: 1 within the threshold, less beyond.
    """
    return threshold / residual.abs().clamp(min=threshold)


def penalty(residual: Tensor, threshold: float) -> Tensor:
    r""":math:`\rho(r)`, entry by entry; arguments as in `weights`."""
    size = residual.abs()
    return torch.where(size <= threshold, residual**2 / 2, threshold * size - threshold**2 / 2)


def find_problems(threshold: float | None, least: float = 0.0) -> list[str]:
    """Problems of a threshold, which must exceed the least; None, for Gaussian errors, is valid."""
    wrong = threshold is not None and not threshold > least
    return [f"huber={threshold}, expected None or a number above {least:g}"] if wrong else []


def compute_bounded_misfit(residual: Tensor, threshold: float) -> Tensor:
    r"""Misfit of which a gross error has no larger share than an observation at the threshold, summed by member.

    No fit brings :math:`\sum_i \rho(r_i)` down to half the number of observations once one of them is far off, so that
    methods which stop there ask for :math:`\sum_i \min(\rho(r_i), \delta^2 / 2)` instead.

    Parameters
    ----------
    residual : Tensor, shape (B, M)
    threshold : float

    Returns
    -------
    Tensor, shape (B,)
    """
    return residual.abs().clamp(max=threshold).square().sum(-1) / 2


def estimate_scale(residual: Tensor) -> Tensor:
    """Usual size of residuals (B, M), at least 1: their median absolute deviation from 0, shape (B, 1)."""
    return (1.4826 * residual.abs().median(dim=-1, keepdim=True).values).clamp(min=1)


def compute_first_weights(departure: Tensor, variance: Tensor, threshold: float) -> Tensor:
    """Weights to begin with, before there is an estimate: departures are compared with each other.

    Parameters
    ----------
    departure : Tensor, shape (B, M)
        Observations minus what the plain estimate says of them.
    variance : Tensor, shape (M,)
        Variance of the observations' errors.
    threshold : float

    Returns
    -------
    Tensor, shape (B, M)
    """
    whitened = normalise_residuals(departure, variance)
    return weights(whitened / estimate_scale(whitened), threshold)


def normalise_residuals(difference: Tensor, variance: Tensor) -> Tensor:
    """Differences (B, M) in deviations of the errors; 0 for exact observations, which keep their weight."""
    exact = variance == 0
    return (difference / variance.sqrt().masked_fill(exact, 1.0)).masked_fill(exact, 0.0)
