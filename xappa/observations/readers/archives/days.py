"""Days of archives: local ones, which end at a time of observation or at midnight."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xappa.observations.readers.objects import to_numeric

_MIDNIGHT = 24 * 60


def compute_day_ends(dates: np.ndarray, longitude: np.ndarray, clock: pd.Series | None = None) -> np.ndarray:
    """Times in UTC at which local days end.

    The zone is the nautical one, whole hours of 15 degrees of longitude, since archives do not give legal ones.

    Parameters
    ----------
    dates : array of datetime64, shape (n,)
        Days that bear the date.
    longitude : array, shape (n,)
        Degrees east.
    clock : Series of str, shape (n,), optional
        Local time of observation (``"0700"``), at which the 24 hours end; where it is missing, midnight at the
        end of the day.

    Returns
    -------
    array of datetime64, shape (n,)
    """
    minutes = np.full(len(dates), float(_MIDNIGHT))
    if clock is not None:
        digits = to_numeric(clock).to_numpy(dtype=float, na_value=np.nan)
        hours, rest = np.divmod(digits, 100)
        told = (hours >= 0) & (hours <= 24) & (rest < 60) & (digits <= 2400)
        minutes = np.where(told, hours * 60 + rest, minutes)
    east = (longitude + 180.0) % 360.0 - 180.0
    minutes = minutes - 60.0 * np.round(east / 15.0)
    good = np.isfinite(minutes)
    later = np.where(good, np.where(good, minutes, 0).astype("timedelta64[m]"), np.timedelta64("NaT", "m"))
    return dates.astype("datetime64[s]") + later
