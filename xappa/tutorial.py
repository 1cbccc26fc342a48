"""Examples to learn from: a piece of a simulated atmosphere, and networks that observe it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xappa.vocabulary import VARIABLES

SURFACE = ("2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind", "mean_sea_level_pressure")
UPPER_AIR = ("temperature", "u_component_of_wind", "v_component_of_wind")


def nature_run() -> xr.Dataset:
    """48 hours of the simulated atmosphere that the embedded model was *not* trained on.

    Returns
    -------
    Dataset
        All variables of the embedded model, 6-hourly (time: 8) on its grid (latitude: 48, longitude: 96), with
        surface geopotential and land fraction.

    Examples
    --------
    >>> import xappa
    >>> xappa.tutorial.nature_run().sizes["time"]
    8
    """
    return xr.open_zarr(Path(str(resources.files("xappa.data") / "nature-run.zarr")), consolidated=False)


def network(ds: xr.Dataset, *, stations: int = 1200, soundings: int = 300, seed: int = 0) -> xr.Dataset:
    """Places and times of a surface and a radiosonde network: dense over land, sparse over sea, off the grid.

    Parameters
    ----------
    ds : Dataset
        Gives times, levels, land fraction and surface geopotential, as `nature_run` does.
    stations : int
        Surface stations and ships; they report every 6 h 2 m temperature, 10 m wind and sea-level pressure, each at a
        height of its own.
    soundings : int
        Radiosonde stations; they report every 12 h temperature and wind on the levels of `ds`.
    seed : int

    Returns
    -------
    Dataset
        Observations without values: zero where something is observed, missing elsewhere. Give it to
        ``ds.appa.observe``.
    """
    rng = np.random.default_rng(seed)
    times = pd.DatetimeIndex(ds.time.values)
    surface = _places(ds, stations, rng, "S")
    tables = [pd.DataFrame({**surface, "time": t, "level": np.nan, **dict.fromkeys(SURFACE, 0.0)}) for t in times]
    raobs = _places(ds, soundings, rng, "R")
    tables += [
        pd.DataFrame({**raobs, "time": t, "level": float(level), **dict.fromkeys(UPPER_AIR, 0.0)})
        for t in times[times.hour % 12 == 0]
        for level in ds.level.values
    ]
    table = pd.concat(tables, ignore_index=True)
    coords = {
        name: ("obs", table.pop(name).to_numpy()) for name in ("time", "latitude", "longitude", "level", "altitude")
    }
    coords["station"] = ("obs", table.pop("station").to_numpy().astype(str))
    obs = xr.Dataset({name: ("obs", table[name].to_numpy()) for name in table}, coords)
    for name in obs.data_vars:
        obs[name].attrs = VARIABLES[str(name)].attrs
    obs["latitude"].attrs = {"units": "degrees_north", "standard_name": "latitude"}
    obs["longitude"].attrs = {"units": "degrees_east", "standard_name": "longitude"}
    obs["level"].attrs = {"units": "hPa", "standard_name": "air_pressure"}
    obs["altitude"].attrs = {"units": "m", "standard_name": "surface_altitude"}
    return obs


def _places(ds: xr.Dataset, count: int, rng: np.random.Generator, prefix: str) -> dict[str, np.ndarray]:
    """Random places, five times as dense over land; heights scatter about the model's surface by 150 m, ships float."""
    latitude = np.rad2deg(np.arcsin(rng.uniform(-1, 1, 12 * count)))
    longitude = rng.uniform(0, 360, 12 * count)
    where = {"latitude": xr.DataArray(latitude, dims="obs"), "longitude": xr.DataArray(longitude, dims="obs")}
    land = ds.land_sea_mask.sel(where, method="nearest").values > 0.5
    height = ds.geopotential_at_surface.sel(where, method="nearest").values / 9.80665
    chosen = np.flatnonzero(land | (rng.uniform(size=land.size) < 0.2))[:count]
    altitude = np.where(land, np.maximum(height + rng.normal(0, 150, land.size), 0), 0.0)[chosen]
    return {
        "latitude": latitude[chosen],
        "longitude": longitude[chosen],
        "altitude": altitude,
        "station": np.array([f"{prefix}{n:04d}" for n in range(len(chosen))]),
    }
