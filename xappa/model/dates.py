"""Dates as integers, and their codes: time of year and time of day as points on circles, in float32."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def to_date_tensor(times: np.ndarray) -> Tensor:
    """Year, month, day and hour (UTC) of times: datetime64 array (...), of any unit, to int64 (..., 4)."""
    year, month, day, hour = (times.astype(f"datetime64[{unit}]") for unit in "YMDh")
    columns = (year.astype("int64") + 1970, (month - year).astype("int64") + 1, (day - month).astype("int64") + 1)
    return torch.from_numpy(np.stack((*columns, (hour - day).astype("int64")), -1))


def year_progress(date: Tensor) -> Tensor:
    """Sine and cosine of the fraction of the year that has passed.

    Parameters
    ----------
    date : integer Tensor (..., 4)
        Year, month, day, hour (UTC).

    Returns
    -------
    Tensor (..., 2), float32
    """
    year, month, day, hour = date.unbind(-1)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    before = torch.tensor(_DAYS_BEFORE, device=date.device)[month - 1]
    days = before + day - 1 + (leap & (month > 2))
    hours = (24 * days + hour).to(torch.float32)
    return _circle(hours / (24 * (365 + leap.long())))


def local_time(date: Tensor, longitude: float | Tensor = 0.0) -> Tensor:
    """Sine and cosine of the fraction of the day that has passed, in mean solar time.

    Parameters
    ----------
    date : integer Tensor (..., 4)
        Year, month, day, hour (UTC).
    longitude : float or Tensor (N,), default 0
        Degrees east, in either convention.

    Returns
    -------
    Tensor (..., 2), or (..., N, 2) for N longitudes; float32
    """
    hour = date[..., 3].to(torch.float32)
    east = torch.as_tensor(longitude, dtype=torch.float32, device=date.device)
    if east.ndim:
        hour = hour[..., None]
    return _circle(((hour + 24 * (east % 360) / 360) % 24) / 24)


def date_codes(date: Tensor) -> Tensor:
    """Code of a window: year codes of all its times, then UTC hour codes of all its times.

    Parameters
    ----------
    date : integer Tensor (..., K, 4)

    Returns
    -------
    Tensor (..., 4 * K), float32
    """
    return torch.cat((year_progress(date).flatten(-2), local_time(date).flatten(-2)), -1)


DATE_FUNCTIONS = 6
"""Number of functions of `date_basis`."""


def date_basis(date: Tensor) -> Tensor:
    """One, the year's first harmonic, the day's (UTC) first, and the cosine of its second: what an hour in four needs.

    Parameters
    ----------
    date : integer Tensor (..., 4)

    Returns
    -------
    Tensor (..., 6), float32
    """
    day = local_time(date)
    sine, cosine = day[..., :1], day[..., 1:]
    return torch.cat((torch.ones_like(sine), year_progress(date), day, cosine.square() - sine.square()), -1)


def _circle(fraction: Tensor) -> Tensor:
    angle = 2 * math.pi * fraction
    return torch.stack((torch.sin(angle), torch.cos(angle)), -1)
