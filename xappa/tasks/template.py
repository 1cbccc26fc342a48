"""An empty Dataset on a model's grid and times."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import dask.array
import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import DatasetError, choose
from xappa.grids.axes import Layout, format_time, refuse
from xappa.model.state import StateSpec
from xappa.state import to_dataset
from xappa.state.selection import find_model_time_problems
from xappa.tasks.state_spec import get_state_spec

if TYPE_CHECKING:
    from xappa.model.protocol import ModelLike

Time = str | datetime | np.datetime64


def template(
    start: Time,
    end: Time,
    model: ModelLike | StateSpec | None = None,
    *,
    latitude: str = "model",
    longitude: str = "model",
) -> xr.Dataset:
    """An empty Dataset on a model's grid, at all its times from `start` to `end`.

    Parameters
    ----------
    start, end : str, datetime or datetime64
        First and last time, UTC, both included. A date alone means its 00 UTC.
    model : str, Path or StateSpec, optional
        Name or folder of a model. Default: the option ``default_model``.
    latitude : str, default "model"
        Order of rows, which results keep: ``"ascending"``, ``"descending"``, or the model's own.
    longitude : str, default "model"
        Convention of longitudes, which results keep: ``"0..360"``, ``"-180..180"``, or the model's own.

    Returns
    -------
    Dataset
        All variables of the model, NaN, (time, [level,] latitude, longitude); Dask-backed, so that it takes no memory.

    Raises
    ------
    DatasetError
        If `start` or `end` is no time of the model, or `end` comes first.
    OptionError
        If there is no such order or convention.

    Examples
    --------
    >>> import xappa
    >>> xappa.template("2021-03-21", "2021-03-22T18").appa.assimilate(obs)  # doctest: +SKIP
    >>> europe = xappa.template("2021-03-21", "2021-03-22", longitude="-180..180")  # doctest: +SKIP
    >>> europe = europe.sel(latitude=slice(35, 70), longitude=slice(-10, 40))  # doctest: +SKIP
    """
    spec = get_state_spec(model)
    first, last = _to_utc("start", start), _to_utc("end", end)
    problems = [
        f"{name}: {problem}"
        for name, time in (("start", first), ("end", last))
        for problem in find_model_time_problems(np.array([time]), spec)
    ]
    if last < first:
        problems.append(
            f"end {format_time(last)} is before start {format_time(first)}; expected it at or after: exchange them"
        )
    refuse(problems, "No template can be made")
    times = first + np.arange(int((last - first) / spec.step) + 1) * spec.step
    # The unit in which files are read, in years that it holds: pandas before 3 finds another one different.
    if np.datetime64("1678") <= first and last < np.datetime64("2262"):
        times = times.astype("datetime64[ns]")
    shape = (1, len(times), *spec.shape)
    empty = dask.array.full(shape, np.nan, dtype="float32", chunks=(1, spec.window, *spec.shape))
    layout = Layout(
        latitudes=choose("latitude", latitude, ORDERS)(spec.latitude),
        longitudes=choose("longitude", longitude, CONVENTIONS)(spec.longitude),
    )
    return to_dataset(empty, spec, times, [0], layout).isel(member=0, drop=True)


def _order_longitudes(west: float) -> Callable[[Sequence[float]], tuple[float, ...]]:
    """Longitudes in ascending order from a meridian on."""
    return lambda values: tuple(sorted((value - west) % 360 + west for value in values))


ORDERS: dict[str, Callable[[Sequence[float]], tuple[float, ...]]] = {
    "model": tuple,
    "ascending": lambda values: tuple(sorted(values)),
    "descending": lambda values: tuple(sorted(values, reverse=True)),
}
CONVENTIONS: dict[str, Callable[[Sequence[float]], tuple[float, ...]]] = {
    "model": tuple,
    "0..360": _order_longitudes(0.0),
    "-180..180": _order_longitudes(-180.0),
}


def _to_utc(name: str, time: Time) -> np.datetime64:
    if isinstance(time, numbers.Number):  # pandas takes it for nanoseconds since 1970
        raise DatasetError(f"{name}={time!r} is a number; expected a time such as '2021-03-21T06'")
    try:
        stamp = pd.Timestamp(time)
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{name}={time!r} is no time ({error}); expected one such as '2021-03-21T06'") from error
    if stamp is pd.NaT:
        raise DatasetError(f"{name}={time!r} is no time; expected one such as '2021-03-21T06'")
    if stamp.tzinfo is not None:
        stamp = stamp.tz_convert("UTC").tz_localize(None)
    return stamp.to_datetime64().astype("datetime64[s]")
