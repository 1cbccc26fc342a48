"""Text among the numbers of places and errors: missing, and counted as among values."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.observations import read_observations

pytestmark = pytest.mark.filterwarnings("ignore::xappa.errors.UnitsWarning")

T = "2m_temperature"
COLUMNS = {"altitude": "elev", "latitude": "lat", "longitude": "lon", "level": "level", f"{T}_error": f"{T}_error"}


def wide(name: str, texts: list[str]) -> pd.DataFrame:
    table = {"time": "2018-11-02T12", "lat": [50.0, 51.0, 52.0], "lon": 5.0, "elev": 10.0, T: 280.0}
    return pd.DataFrame(table | {COLUMNS[name]: texts})


def tidy(name: str, texts: list[str]) -> pd.DataFrame:
    renamed = {T: "observation", f"{T}_error": "error"}
    return wide(name, texts).rename(columns=renamed).assign(variable=T)


def points(name: str, texts: list[str]) -> xr.Dataset:
    ds = wide(name, texts).to_xarray().drop_vars("index").rename(index="x")
    return ds.set_coords([column for column in COLUMNS.values() if column in ds and column != f"{T}_error"])


@pytest.mark.parametrize("form", [wide, tidy, points])
@pytest.mark.parametrize("name", COLUMNS)
def test_text_is_missing_and_counted_by_what_it_was_for(form, name):
    obs = read_observations(form(name, ["51.5", "about 50", "high"]))
    key = "error" if form is tidy and name.endswith("_error") else name
    assert json.loads(obs.attrs["unreadable_values"]) == {key: 2}
    expected = np.array([51.5, np.nan, np.nan])
    np.testing.assert_array_equal(obs[name], expected)


@pytest.mark.parametrize("form", [wide, tidy, points])
@pytest.mark.parametrize("name", COLUMNS)
def test_missing_text_is_not_counted(form, name):
    obs = read_observations(form(name, ["51.5", None, "51.5"]))
    assert "unreadable_values" not in obs.attrs


def test_in_files_too(tmp_path):
    wide("altitude", ["10", "unknown", "30"]).to_csv(tmp_path / "a.csv", index=False)
    obs = read_observations(tmp_path / "a.csv")
    assert json.loads(obs.attrs["unreadable_values"]) == {"altitude": 1}
