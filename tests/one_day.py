"""Four times of the tiny model, three reports of them, and options with which an analysis takes no time."""

from __future__ import annotations

import pandas as pd
import xarray as xr

import xappa

TIMES = pd.date_range("2001-03-13", periods=4, freq="6h")


def cheap_options(tiny_model) -> dict:
    return {"model": tiny_model, "members": 2, "seed": 0, "steps": 3}


def template(tiny_model) -> xr.Dataset:
    return xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)


def reports() -> pd.DataFrame:
    rows = {"time": TIMES[[0, 1, 3]], "lat": [10.0, -33.0, 85.0], "lon": [5.0, 359.0, 180.0]}
    return pd.DataFrame({**rows, "variable": "2m_temperature", "observation": [287.0, 283.0, 284.0], "error": 0.5})
