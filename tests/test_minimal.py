"""The whole way through: a table of reports in, a labelled ensemble out, scored and stored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

import xappa


def test_minimal(tiny_model, tmp_path) -> None:
    reports = pd.DataFrame(
        {
            "time": pd.to_datetime(["2001-03-13T00", "2001-03-13T06", "2001-03-13T12", "2001-03-13T12"]),
            "lat": [12.0, 50.0, -40.0, 12.0],
            "lon": [-3.0, 100.0, 200.0, 30.0],
            "variable": "2m_temperature",
            "observation": [288.0, 284.0, 281.0, 400.0],
        }
    )
    ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
    analysis = ds.appa.assimilate(reports, error={"2m_temperature": 0.5}, model=tiny_model, members=3, seed=0)
    assert analysis["2m_temperature"].dims == ("member", "time", "latitude", "longitude")
    assert analysis["2m_temperature"].attrs["units"] == "K"

    store = xappa.to_zarr(analysis, tmp_path / "analysis.zarr")
    stored = xr.open_zarr(store, consolidated=False)
    xr.testing.assert_allclose(stored["temperature"].compute(), analysis["temperature"].compute())
    counts = xr.open_zarr(store, group="diagnostics", consolidated=False)["reports"].sel(variable="2m_temperature")
    assert int(counts.sel(status="good")) == 3
    assert int(counts.sel(status="out_of_range")) == 1

    scores = stored.appa.verify(reports.iloc[:3], metrics=["rmse"])
    assert np.isfinite(scores["2m_temperature"]).all()
