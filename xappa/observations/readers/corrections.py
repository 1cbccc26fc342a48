"""Reports that were corrected later: the last correction counts, whatever the order in which they come."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from xappa.observations.flags import Flag


def flag_superseded(
    keys: Mapping[str, npt.NDArray], values: npt.NDArray, correction: npt.NDArray
) -> npt.NDArray[np.int8]:
    """Flags of values of which a later correction is there: ``duplicate``, and 0 for all others.

    Parameters
    ----------
    keys : mapping of str to array, shape (n,)
        What is the same for a report and its correction: station or place, time, and level, period and height if any.
    values : array of float, shape (n,)
        NaN where nothing is reported; what a correction lacks it does not take away.
    correction : array of int, shape (n,)
        Number of the correction; 0 for the report itself.

    Returns
    -------
    array of int8, shape (n,)
    """
    number = pd.Series(np.where(np.isfinite(values), correction, -1))
    last = number.groupby([pd.Series(key) for key in keys.values()], dropna=False).transform("max")
    return np.where(number < last, Flag.DUPLICATE, Flag.GOOD).astype("int8")
