"""A small piece of the nature run, for the tutorial and the demonstration."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xappa.model.state import StateSpec
from xappa.vocabulary import VARIABLES


def write_excerpt(nature: Path, spec: StateSpec, start: str, out: Path) -> None:
    """Write one window of states, with surface geopotential and land fraction, as a Zarr store.

    Parameters
    ----------
    nature : Path
        Folder of one run.
    spec : StateSpec
        Variables and levels to keep, and the length of the window.
    start : str
        First time.
    out : Path
        The store; replaced if there.
    """
    times = pd.date_range(start, periods=spec.window, freq=pd.Timedelta(spec.step))
    files = [f for f in sorted(nature.glob("[0-9]*.nc")) if pd.Timestamp(f.stem) <= times[-1]][-3:]
    parts = [xr.open_dataset(file) for file in files]
    ds = xr.concat(parts, "time", data_vars="minimal", coords="minimal", compat="override", join="exact")
    ds = ds.sel(time=times)[list(spec.variables)].load()
    for name in spec.variables:
        levels = spec.levels_of(name)
        if levels:
            ds[name] = ds[name].where(ds.level.isin(levels))
        ds[name].attrs = VARIABLES[name].attrs
    with xr.open_dataset(nature / "static.nc") as static:
        ds = ds.merge(static.load())
    ds.attrs = {
        "Conventions": "CF-1.11",
        "title": "48 hours of a simulated atmosphere",
        "source": "jcm 3.0.0, SPEEDY physics, T31, 8 levels",
    }
    ds = ds.drop_encoding()
    ds["time"].encoding = {"units": "hours since 1970-01-01", "dtype": "int64"}
    shutil.rmtree(out, ignore_errors=True)
    chunks = {name: (len(times), *np.shape(ds[name])[1:]) for name in spec.variables}
    ds.to_zarr(out, zarr_format=3, consolidated=False, encoding={n: {"chunks": c} for n, c in chunks.items()})
