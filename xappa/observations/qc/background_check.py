r"""Background check: a report that the first guess makes too unlikely is rejected.

With the report y, what the background says of it, H(x_b), and the deviations of their errors,

.. math:: |y - H(x_b)| > k \sqrt{\sigma_b^2 + \sigma_o^2}

is a departure of more than k expected deviations. Where the background is a climatology, sigma_b is the climate's own
deviation, and the check finds gross errors only.

References
----------
Lorenc and Hammon (1988), Objective quality control of observations using Bayesian methods, Q. J. R. Meteorol. Soc. 114,
515-543.
ECMWF (2003), IFS Documentation CY25R1, Part I: Observation processing (first-guess check).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xappa._typing import Array
from xappa.observations.flags import Flag
from xappa.observations.qc.batch import ReportBatch


def check_background(batch: ReportBatch, found: Mapping[str, tuple[Array, Array]], k: float) -> None:
    """Reject, in place, reports that depart by more than `k` expected deviations.

    Parameters
    ----------
    batch : ReportBatch
    found : mapping of str to (mean, deviation), each (N,)
        What the background says; NaN, and quantities that are left out, are not checked.
    k : float
    """
    for name, (mean, deviation) in found.items():
        observed = np.nan_to_num(batch.error[name])
        with np.errstate(invalid="ignore"):
            wrong = np.abs(batch.value[name] - mean) > k * np.sqrt(deviation**2 + observed**2)
        batch.reject(name, wrong, Flag.BACKGROUND_CHECK)
