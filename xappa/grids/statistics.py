"""Fields that are extremes or means over a period: how they say so.

References
----------
CF Conventions 1.11, sections 7.1 (cell boundaries) and 7.3 (cell methods).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa.grids.aliases import find_by_attributes, find_by_name
from xappa.vocabulary import VARIABLES

_METHOD = re.compile(r"((?:[\w.]+:\s+)+)(\w+)")
_GRIB = {"max": "maximum", "min": "minimum", "avg": "mean", "diff": "range"}
"""Types of steps in GRIB (as ecCodes calls them) that are no instants, beside sums."""


@dataclass(frozen=True)
class Statistic:
    """Statistic of a field over a period.

    Parameters
    ----------
    method : str
        ``"maximum"``, ``"minimum"``, ``"mean"`` and the like, as in CF's cell methods; ``"statistic"`` where only
        bounds of the times say that there is a period.
    begin, end : float or None
        Hours from the time of a field to the bounds of its period; None where they are not known.
    """

    method: str
    begin: float | None = None
    end: float | None = None

    def __str__(self) -> str:
        if self.begin is None or self.end is None:
            return f"the {self.method} over a period"
        return f"the {self.method} over {self.end - self.begin:g} h"

    def matches(self, other: Statistic | None) -> bool:
        """Whether two fields are the same statistic of the same period, as far as both tell."""
        if other is None or other.method != self.method:
            return False
        mine, theirs = (self.begin, self.end), (other.begin, other.end)
        return None in mine or None in theirs or mine == theirs


def infer_statistic(field: xr.DataArray, time: str | None, ds: xr.Dataset) -> Statistic | None:
    """Statistic of a field over a period, by cell methods, GRIB's type of step, or time bounds; None for an instant.

    Parameters
    ----------
    field : DataArray
        Of a quantity that is no sum over time.
    time : str, optional
        Name of the time coordinate.
    ds : Dataset
        Dataset with the field and the bounds of its times.
    """
    method = _infer_method(field, time)
    begin, end = _read_bounds(time, ds)
    if method is None and begin != end and not _has_sums(ds):
        method = "statistic"
    return None if method in (None, "point") else Statistic(str(method), begin, end)


def describe_statistic(user: str, statistic: Statistic) -> str:
    """A field is over a period where one of an instant is needed."""
    told = "bounds of the times" if statistic.method == "statistic" else f"cell_methods 'time: {statistic.method}'"
    return (
        f"variable {user!r} is {statistic} ({told}); expected values of an instant: use instantaneous fields, or, if "
        f"it is one, set ds[{user!r}].attrs['cell_methods'] = 'time: point'"
    )


def _infer_method(field: xr.DataArray, time: str | None) -> str | None:
    names = {"time", "t", "valid_time", str(time)}
    text = re.sub(r"\([^)]*\)", "", str(field.attrs.get("cell_methods", "")))
    found = [method for axes, method in _METHOD.findall(text) if names & set(axes.replace(":", " ").split())]
    if found:
        return str(found[-1]).casefold()
    step = str(field.attrs.get("GRIB_stepType", ""))
    return _GRIB.get(step, "mean" if step.startswith("avg") else None)


def _read_bounds(time: str | None, ds: xr.Dataset) -> tuple[float | None, float | None]:
    """Hours from the times to their bounds, where they are the same at all times to within an hour."""
    name = None if time is None else ds[time].attrs.get("bounds", ds[time].encoding.get("bounds"))
    if name not in ds.variables or ds[name].dtype.kind != "M" or ds[name].shape != (*ds[time].shape, 2):
        return None, None
    apart = (ds[name].values - ds[time].values[..., None]) / np.timedelta64(1, "h")
    if not apart.size or not np.isfinite(apart).all():
        return None, None
    begin, end = np.median(apart.reshape(-1, 2), axis=0)
    return float(begin), float(end)


def _has_sums(ds: xr.Dataset) -> bool:
    """Whether a Dataset has sums over time, whose bounds those of the times may be."""
    names = [find_by_name(str(name)) or find_by_attributes(field.attrs) for name, field in ds.data_vars.items()]
    return any(name in VARIABLES and VARIABLES[name].amount for name in names if name is not None)
