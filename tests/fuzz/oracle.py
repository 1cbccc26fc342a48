"""What cannot be among values that count as good."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xappa.observations.names import QUANTITIES

_FIRST, _LAST = np.datetime64("1600-01-01"), np.datetime64("2262-01-01")
_CENTURY = np.timedelta64(36525, "D")
_BOUNDS = {
    "latitude": (-90.0, 90.0),
    "longitude": (-360.0, 540.0),
    "level": (0.0, 1100.0),
    "altitude": (-12_000.0, 100_000.0),
    "height": (-12_000.0, 100_000.0),
}


def absurd_reports(obs: xr.Dataset) -> list[str]:
    """Absurd values, places, times and errors of reports that no flag rejects."""
    wrong: list[str] = []
    for name in [name for name in obs.data_vars if f"{name}_flag" in obs]:
        values = obs[name].values
        if values.dtype.kind not in "iuf":
            wrong.append(f"{name} of {values.dtype}")
            continue
        good = (obs[f"{name}_flag"].values == 0) & ~np.isnan(values)
        wrong += _values(str(name), values[good])
        wrong += _coordinates(obs.isel(obs=good))
        if f"{name}_error" in obs:
            errors = obs[f"{name}_error"].values[good]
            wrong += ["error not above 0"] * bool((errors <= 0).any() or np.isinf(errors).any())
    return [*dict.fromkeys(wrong)]


def _values(name: str, values: np.ndarray) -> list[str]:
    if name not in QUANTITIES:
        return []
    least, most = QUANTITIES[name].valid_min, QUANTITIES[name].valid_max
    slack = 1e-6 * (abs(least) + abs(most))
    return [f"{name} beyond its range"] * bool(((values < least - slack) | (values > most + slack)).any())


def _coordinates(good: xr.Dataset) -> list[str]:
    wrong = []
    for name, (least, most) in _BOUNDS.items():
        if name not in good.coords:
            continue
        values = good[name].values
        if values.dtype.kind not in "iuf":
            wrong.append(f"{name} of {values.dtype}")
        elif ((values < least) | (values > most)).any() or (name in _NEEDED and np.isnan(values).any()):
            wrong.append(f"{name} absurd")
    time = good["time"].values.astype("datetime64[s]")  # nanoseconds do not reach to 1600
    if (np.isnat(time) | (time < _FIRST) | (time >= _LAST)).any():
        wrong.append("time absurd")
    if "period" in good.coords:
        period = good["period"].values
        wrong += ["period absurd"] * bool(((period < np.timedelta64(0)) | (period > _CENTURY)).any())
    return wrong


_NEEDED = ("latitude", "longitude")


def remarked_reports(obs: xr.Dataset) -> bool:
    """Whether anything is flagged or counted."""
    flagged = any((obs[name].values != 0).any() for name in obs.data_vars if str(name).endswith("_flag"))
    return flagged or bool(set(obs.attrs) - {"Conventions", "featureType", "reports_read", "units_assumed", "derived"})
