"""Periods of CF variables: time bounds, or the step of time where there are none.

References
----------
CF conventions 1.11, chapter 7 (Data Representative of Cells), sections 7.1 (bounds) and 7.3 (cell methods).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from xappa.observations.names import QUANTITIES, find_quantity
from xappa.observations.periods import get_definition_period
from xappa.observations.readers.cf.cell_methods import CellMethod, find_cell_methods, find_period_method
from xappa.observations.readers.times import decode_cf_times, to_times

DAY, HALF_HOUR = np.timedelta64(86400, "s"), np.timedelta64(1800, "s")
NOTHING = np.timedelta64(0, "s")
"""Length that stands for one that is not known, until reports are made."""


@dataclass(frozen=True)
class VariablePeriod:
    """Over what the values of a variable are.

    Parameters
    ----------
    bounds : DataArray or None
        Begin and end (..., 2); None for the period that is part of the quantity's definition, or an unknown one.
    assumed : str
        Which period was assumed, in words; empty if the source tells it.
    known : bool
        Whether anything tells the period.
    """

    bounds: xr.DataArray | None
    assumed: str = ""
    known: bool = True


def find_time_bounds(ds: xr.Dataset, time: str) -> xr.DataArray | None:
    """Bounds (..., 2) of the time coordinate, as times; None if there are none."""
    name = ds[time].attrs.get("bounds", ds[time].encoding.get("bounds"))
    if name not in ds or ds[name].dims[:-1] != ds[time].dims or ds[name].shape[-1] != 2:
        return None
    return _decode_bounds(ds[name], ds[time])


def is_climatological(time: xr.DataArray) -> bool:
    """Whether times are those of a climatology (CF section 7.4), in which no single day is meant."""
    return "climatology" in time.attrs or "climatology" in time.encoding


def find_period(
    variable: xr.DataArray, meaning: str, time: xr.DataArray, bounds: xr.DataArray | None
) -> VariablePeriod | None:
    """The period of a variable; None if its values are of an instant.

    Parameters
    ----------
    variable : DataArray
    meaning : str
        Its quantity.
    time : DataArray of datetime64
    bounds : DataArray or None
        Bounds of the times, see `find_time_bounds`.

    Notes
    -----
    Without bounds, daily and monthly values belong to the UTC day or month in which their time lies, and sums over
    less than a day end at their time, as amounts of weather reports do. At which end of a shorter mean or extreme its
    time lies, nothing tells.
    """
    usual = QUANTITIES[meaning].cell_methods if meaning in QUANTITIES else ""
    text = find_cell_methods(variable.attrs, usual, str(variable.name))
    method = find_period_method(text, {str(time.name), *map(str, time.dims)})
    if method is None:
        return None
    if bounds is not None:
        return VariablePeriod(bounds)
    values = time.to_numpy()
    step = _find_regular_step(values)
    if _is_definition(variable, meaning, method, step):
        return VariablePeriod(None, known=not _is_since_start(variable, meaning))
    found = _compute_cell_bounds(values, method, step)
    if found is None:
        return VariablePeriod(None, known=False)
    begin, end, words = found
    cells = xr.DataArray(np.stack([begin, end], axis=-1), dims=(*time.dims, "bounds_of_time"))
    return VariablePeriod(cells, words)


def compute_periods(
    bounds: xr.DataArray, names: Iterable[str], rows: Callable[[xr.Variable], xr.Variable]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Lengths of the periods of quantities, and the times at which they end.

    Parameters
    ----------
    bounds : DataArray, shape (..., 2)
    names : iterable of str
        Quantities over a period.
    rows : callable
        Brings a variable of the Dataset onto ``obs``.

    Returns
    -------
    periods : dict of str to array of timedelta64[s], shape (obs,)
        Without those whose period is the one that their definition has. `NOTHING` where bounds are missing.
    ends : array of datetime64, shape (obs,)
    """
    first, second = (rows(bounds.variable[..., i]).to_numpy() for i in (0, 1))
    # Of times that decrease, bounds do as well.
    begin, end = np.fmin(first, second), np.fmax(first, second)
    length = (end - begin).astype("timedelta64[s]")
    length = np.where(np.isnat(first) | np.isnat(second), NOTHING, length)
    return {name: length for name in names if not (get_definition_period(name) == length).all()}, end


def find_empty_bounds(bounds: xr.DataArray) -> xr.DataArray:
    """Mask of bounds that are missing or enclose nothing, so that no period is known."""
    first, second = (bounds.isel({bounds.dims[-1]: i}, drop=True) for i in (0, 1))
    return first.isnull() | second.isnull() | (first == second)


def _decode_bounds(bounds: xr.DataArray, time: xr.DataArray) -> xr.DataArray:
    """Bounds as times; those that were never decoded have the units of the time."""
    if np.issubdtype(bounds.dtype, np.datetime64):
        return bounds
    units = {key: time.encoding.get(key, time.attrs.get(key)) for key in ("units", "calendar")}
    attrs = {key: text for key, text in units.items() if text} | dict(bounds.attrs)
    if bounds.dtype.kind in "iuf" and attrs:
        bounds = decode_cf_times(bounds.assign_attrs(attrs))
    if np.issubdtype(bounds.dtype, np.datetime64):
        return bounds
    return bounds.copy(data=to_times(bounds.to_numpy().reshape(-1), str(bounds.name)).reshape(bounds.shape))


def _is_definition(variable: xr.DataArray, meaning: str, method: CellMethod, step: np.timedelta64 | None) -> bool:
    """Whether the period is the one that the quantity has by definition: its name says so, or the interval."""
    own = get_definition_period(meaning)
    if np.isnat(own):
        return False
    if "cell_methods" not in variable.attrs:
        return True
    if method.interval != own / np.timedelta64(1, "s"):
        return False
    return step is None or bool(step <= own) or find_quantity(str(variable.name)) == meaning


def _is_since_start(variable: xr.DataArray, meaning: str) -> bool:
    """Whether amounts are of a forecast, so that they may be summed from its start over more than their definition."""
    for name, step in variable.coords.items():
        if step.attrs.get("standard_name") == "forecast_period" or name == "step":
            hours = step.to_numpy()
            lead = hours.astype("timedelta64[s]") if hours.dtype.kind == "m" else hours * np.timedelta64(3600, "s")
            return bool((lead != get_definition_period(meaning)).any())
    return False


def _find_regular_step(times: npt.NDArray[np.datetime64]) -> np.timedelta64 | None:
    """The step of times that are regular but for gaps; None if they are not, or if there are fewer than two."""
    steps = np.diff(np.unique(times[~np.isnat(times)]))
    if not len(steps):
        return None
    step = steps.min()
    regular = not (steps % step != np.timedelta64(0)).any() and 2 * (steps == step).sum() >= len(steps)
    return step if regular or _are_months(times) else None


def _are_months(times: npt.NDArray[np.datetime64]) -> bool:
    """Whether there is one time a month, at its begin or in its middle."""
    known = np.unique(times[~np.isnat(times)])
    months = known.astype("datetime64[M]")
    inside = (known - months) / DAY
    one_each = len(known) > 1 and (np.diff(months).astype(int) >= 1).all() and (np.diff(months).astype(int) == 1).any()
    return bool(one_each and ((inside == 0).all() or ((inside >= 13) & (inside <= 16.5)).all()))


def _compute_cell_bounds(
    times: npt.NDArray[np.datetime64], method: CellMethod, step: np.timedelta64 | None
) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.datetime64], str] | None:
    """Begin and end of the cells of times, and which they are; None if nothing tells."""
    daily = step == DAY or (step is None and method.parts == "within days")
    if step is not None and method.interval is not None and method.interval > step / np.timedelta64(1, "s"):
        return None
    if (
        daily
        and (abs(_compute_since_midnight(times) - np.array([[0], [43200]], "m8[s]")) <= HALF_HOUR).all(axis=1).any()
    ):
        begin: npt.NDArray[np.datetime64] = times.astype("datetime64[D]").astype("datetime64[s]")
        return begin, begin + DAY, "the UTC day in which their time lies"
    if step is not None and step >= 28 * DAY and _are_months(times):
        months = times.astype("datetime64[M]")
        return (
            months.astype("datetime64[s]"),
            (months + np.timedelta64(1, "M")).astype("datetime64[s]"),
            "the month in which their time lies",
        )
    if step is not None and step < DAY and method.method == "sum":
        length = step.astype("timedelta64[s]")
        start: npt.NDArray[np.datetime64] = times - length
        return start, times, f"the {length / np.timedelta64(3600, 's'):g} h before their time"
    return None


def _compute_since_midnight(times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.timedelta64]:
    known = times[~np.isnat(times)].reshape(-1)
    return (known - known.astype("datetime64[D]")).astype("timedelta64[s]")
