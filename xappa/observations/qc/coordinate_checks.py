"""Coordinates that cannot be right as a whole: another column, other units, latitude and longitude exchanged."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.qc.windows import mask_times_outside_range

_LIMITS = {
    "latitude": (-90.0, 90.0, "degree"),
    "longitude": (-360.0, 360.0, "degree"),
    "level": (0.0, 1100.0, "hPa"),
}
_MOST = 0.5
_NOTABLE = 0.1
"""Share of places beyond the poles above which latitudes are longitudes, if all are possible when exchanged."""


def refuse_wrong_coordinates(obs: xr.Dataset) -> None:
    """Complain about coordinates of which most are impossible, or that are possible only when exchanged.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.

    Raises
    ------
    ObservationError
        With the ranges found and expected.
    """
    problems = []
    for name, (low, high, units) in _LIMITS.items():
        values = np.asarray(obs[name]) if name in obs.coords else np.empty(0)
        values = values[np.isfinite(values)]
        if values.size and np.mean((values < low) | (values > high)) > _MOST:
            problems.append(
                f"{name} runs from {values.min():g} to {values.max():g}, expected {low:g} to {high:g} {units}"
            )
    time = np.asarray(obs["time"])
    time = time[~np.isnat(time)]
    if time.size and np.mean(np.isnat(mask_times_outside_range(time))) > _MOST:
        problems.append(f"time runs from {time.min()} to {time.max()}, expected the years 1600 to 2261")
    latitude, longitude = np.asarray(obs["latitude"]), np.asarray(obs["longitude"])
    if _are_exchanged(latitude, longitude):
        raise ObservationError(
            f"latitude runs from {latitude.min():g} to {latitude.max():g}, expected -90 to 90, and longitude from "
            f"{longitude.min():g} to {longitude.max():g}: latitude and longitude seem to be swapped. Exchange them, as "
            "with rename={'lon': 'latitude', 'lat': 'longitude'}; if single latitudes are wrong instead, set them to "
            "NaN"
        )
    if problems:
        raise ObservationError(
            f"{'; '.join(problems)}. Most reports are outside, so a column or its units are wrong: say which is meant "
            "with rename={'<your name>': 'latitude'}, or its units with units={'level': 'Pa'}"
        )


def _are_exchanged(latitude: npt.NDArray, longitude: npt.NDArray) -> bool:
    """Whether a notable share of places is beyond the poles, and every one exists when exchanged.

    Places count, not reports: that of one station can be wrong however often it reports.
    """
    if not latitude.size or not (np.isfinite(latitude).all() and np.isfinite(longitude).all()):
        return False
    if np.abs(longitude).max() > 90.0 or not 90.0 < np.abs(latitude).max() <= 360.0:
        return False
    places = np.unique(np.column_stack([latitude, longitude]), axis=0)
    return bool(np.mean(np.abs(places[:, 0]) > 90.0) >= _NOTABLE)
