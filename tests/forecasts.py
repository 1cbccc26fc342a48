"""One set of forecasts, written as archives and tools write them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

LATITUDE = np.linspace(-80, 80, 9)
LONGITUDE = np.arange(0, 360, 30.0)
START = np.datetime64("2020-02-27T00", "ns")
HOURS = np.array([0, 6, 12, 24])
LEADS = HOURS.astype("m8[h]").astype("m8[ns]")


def truth(times: int = 12) -> xr.Dataset:
    """2 m temperature every 6 hours."""
    rng = np.random.default_rng(3)
    field = 280 + rng.standard_normal((times, len(LATITUDE), len(LONGITUDE)))
    coords = {
        "time": START + np.arange(times) * np.timedelta64(6, "h"),
        "latitude": ("latitude", LATITUDE, {"units": "degrees_north"}),
        "longitude": ("longitude", LONGITUDE, {"units": "degrees_east"}),
    }
    return xr.Dataset({"2m_temperature": (("time", "latitude", "longitude"), field, {"units": "K"})}, coords)


def perfect(starts: int = 4, step: int = 1, leads: np.ndarray = LEADS) -> xr.Dataset:
    """What the truth is, along ``time`` (starts, every `step` times 6 hours) and ``lead``."""
    fields = truth(starts * step + 8)
    first = fields.time.values[: starts * step : step]
    runs = [xr.concat([fields.sel(time=s + lead, drop=True) for lead in leads], "lead") for s in first]
    return xr.concat(runs, "time").assign_coords(time=first, lead=leads)


def _valid(ds: xr.Dataset, start: str, lead: str) -> xr.Dataset:
    held = ds[start].values[:, None] + LEADS
    return ds.assign_coords(valid_time=((start, lead), held, {"standard_name": "time"}))


def _cfgrib(ds: xr.Dataset) -> xr.Dataset:
    ds = _valid(ds.rename(lead="step"), "time", "step")
    ds["time"].attrs["standard_name"] = "forecast_reference_time"
    ds["step"].attrs["standard_name"] = "forecast_period"
    return ds


def _hours(name: str, start: str, **attrs: str) -> Callable[[xr.Dataset], xr.Dataset]:
    def write(ds: xr.Dataset) -> xr.Dataset:
        return ds.rename(time=start, lead=name).assign_coords({name: (name, HOURS, attrs)})

    return write


LAYOUTS: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str, str]] = {
    "WeatherBench2": (lambda ds: ds.rename(lead="prediction_timedelta"), "time", "prediction_timedelta"),
    "earth2studio": (lambda ds: ds.rename(lead="lead_time"), "time", "lead_time"),
    "earthkit": (lambda ds: ds.rename(time="forecast_reference_time", lead="step"), "forecast_reference_time", "step"),
    "cfgrib": (_cfgrib, "time", "step"),
    "cfgrib without attributes": (lambda ds: _valid(ds.rename(lead="step"), "time", "step"), "time", "step"),
    "climpred": (_hours("lead", "init", units="hours"), "init", "lead"),
    "dynamical": (
        lambda ds: _valid(ds.rename(time="init_time", lead="lead_time"), "init_time", "lead_time"),
        "init_time",
        "lead_time",
    ),
    "hours by name": (_hours("forecast_hour", "init_time"), "init_time", "forecast_hour"),
    "undecoded": (_hours("prediction_timedelta", "time", units="hours"), "time", "prediction_timedelta"),
    "any name with its type": (lambda ds: ds.rename(lead="ahead"), "time", "ahead"),
    "CF with names of its own": (
        lambda ds: ds.rename(time="run", lead="range").assign_coords(
            run=("run", ds.time.values, {"standard_name": "forecast_reference_time"}),
            range=("range", HOURS, {"standard_name": "forecast_period", "units": "h"}),
        ),
        "run",
        "range",
    ),
}
"""How each writes them: a function of `perfect`, the name of the start and that of the lead."""
