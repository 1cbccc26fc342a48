r"""Size of the errors of reports, by their evidence in a Gaussian prior.

Whitened departures of M reports from the prior's mean are :math:`d \sim N(0, \alpha I + \kappa B)`, with B the
covariance that the prior gives to what is observed. Errors are as they were said to be where :math:`\alpha = 1`.
:math:`\kappa` lets the prior be more or less variable than the days at hand; :math:`\log \kappa` has a normal prior of
deviation s. Both are found by maximum likelihood [1]_: in the basis of the eigenvectors of B, of eigenvalues
:math:`\lambda_i`,

.. math:: -2 \log L = \sum_i \left[ \log(\alpha + \kappa \lambda_i) + \frac{d_i^2}{\alpha + \kappa \lambda_i} \right]
   + \left(\frac{\log \kappa}{s}\right)^2.

An analysis follows its reports, whatever their errors are; this needs none.

References
----------
.. [1] Dee and da Silva (1999), Maximum-likelihood estimation of forecast and observation error covariance parameters,
   Mon. Wea. Rev. 127, 1822-1834.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from xappa._typing import Array

ALPHA = np.exp(np.linspace(-np.log(36), np.log(36), 41))
COARSE = ALPHA[[8, 12, 20, 28, 32, 36]]
KAPPA = np.exp(np.linspace(-1.4, 1.4, 15))
DOUBT = 0.4
"""Deviation of log kappa: in a nature run, single days have from 0.5 to 2 times the prior's variance."""


@dataclass(frozen=True)
class ErrorScale:
    """What the variance of errors is to be multiplied by.

    Parameters
    ----------
    alpha : float
        Most likely multiple.
    sure : float
        Root of twice the gain in log likelihood over alpha = 1, with the sign of log alpha: about a standard normal
        number where errors are right.
    """

    alpha: float
    sure: float


def estimate_common_scale(spread: Array, departure: Array) -> tuple[ErrorScale, float]:
    """One scale for the errors of all reports; and kappa for errors that are right.

    Parameters
    ----------
    spread : array, (M, M)
        B, in units of the errors.
    departure : array, (M,)
        d, in units of the errors.
    """
    values, vectors = np.linalg.eigh(spread)
    variance = ALPHA[:, None, None] + KAPPA[:, None] * np.maximum(values, 0)
    twice = -(np.log(variance) + (vectors.T @ departure) ** 2 / variance).sum(-1) - (np.log(KAPPA) / DOUBT) ** 2
    return _maximise_likelihood(ALPHA, twice.max(1)), float(KAPPA[twice[len(ALPHA) // 2].argmax()])


def estimate_subset_scale(spread: Array, departure: Array, some: Array) -> ErrorScale:
    """The scale for the errors of `some` reports (M,), with the others' right; `spread` is kappa B."""
    covariances = [spread + np.diag(np.where(some, alpha, 1.0)) for alpha in COARSE]
    return _maximise_likelihood(COARSE, np.array([_twice_log_likelihood(c, departure) for c in covariances]))


def _twice_log_likelihood(covariance: Array, departure: Array) -> float:
    root = np.linalg.cholesky(covariance)
    whitened = solve_triangular(root, departure, lower=True, check_finite=False)
    return -float(2 * np.log(np.diag(root)).sum() + whitened @ whitened)


def _maximise_likelihood(alpha: Array, twice: Array) -> ErrorScale:
    best = int(twice.argmax())
    gain = float(twice[best] - twice[np.abs(alpha - 1).argmin()])
    return ErrorScale(float(alpha[best]), float(np.sign(np.log(alpha[best])) * gain**0.5) if gain > 0 else 0.0)
