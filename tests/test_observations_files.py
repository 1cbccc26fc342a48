"""Files, and several sources at once."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations import Flag, concat, is_one_form, read_observations

T, P = "2m_temperature", "mean_sea_level_pressure"


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": ["2024-01-01T00:00", "2024-01-01T06:00"],
            "lat": [70.9, 50.0],
            "lon": [-8.7, 8.0],
            "station": ["01001", "10637"],
            "t2m": [270.0, 280.0],
        }
    )


def test_csv_and_parquet_keep_station_names(table, tmp_path):
    table.to_csv(tmp_path / "reports.csv", index=False)
    xr.testing.assert_identical(read_observations(tmp_path / "reports.csv"), read_observations(table))
    pytest.importorskip("pyarrow")
    table.to_parquet(tmp_path / "reports.parquet")
    xr.testing.assert_identical(read_observations(str(tmp_path / "reports.parquet")), read_observations(table))


@pytest.mark.filterwarnings("ignore::Warning:zarr")
def test_netcdf_and_zarr_bring_the_one_form_back(table, tmp_path):
    pytest.importorskip("netCDF4")
    obs = read_observations(table, error="speedy-twin")
    obs.to_netcdf(tmp_path / "obs.nc", engine="netcdf4")
    obs.to_zarr(tmp_path / "obs.zarr")
    for name in ("obs.nc", "obs.zarr"):
        back = read_observations(tmp_path / name)
        assert is_one_form(back)
        assert back[T].chunks is not None
        xr.testing.assert_allclose(back.compute(), obs)
        assert back[f"{T}_flag"].dtype == np.int8


def test_a_list_is_joined(table):
    other = table.drop(columns=["station", "t2m"]).assign(msl=101000.0, level=500.0, gust=1.0)
    obs = read_observations([table, other])
    assert dict(obs.sizes) == {"obs": 4}
    np.testing.assert_array_equal(obs[T], [270.0, 280.0, np.nan, np.nan])
    np.testing.assert_array_equal(obs["level"], [np.nan, np.nan, 500.0, 500.0])
    assert obs["station"].values.tolist() == ["01001", "10637", "", ""]
    assert obs[f"{P}_flag"].values.tolist() == [0, 0, 0, 0]
    assert obs.attrs["unknown_variables"] == '{"gust": 2}'
    assert obs.attrs["units_assumed"] == f"{T} {P}"


def test_duplicates_are_seen_across_sources(table):
    obs = read_observations([table, table])
    assert obs[f"{T}_flag"].values.tolist() == [0, 0, Flag.DUPLICATE, Flag.DUPLICATE]


def test_a_dict_says_where_reports_come_from(table):
    obs = read_observations({"synop": table, "own": table.iloc[:1]})
    assert obs["source"].values.tolist() == ["synop", "synop", "own"]
    assert is_one_form(obs)
    xr.testing.assert_identical(read_observations(obs), obs)


def test_rename_may_concern_one_of_several(table):
    other = table.rename(columns={"t2m": "temp"})
    obs = read_observations([table, other], rename={"temp": T})
    assert obs[T].notnull().all()


def test_flags_and_errors_survive_joining(table):
    obs = read_observations(table, error="1 K")
    obs[f"{T}_flag"][0] = Flag.WITHHELD
    both = concat([obs, read_observations(table.assign(lat=[0.0, 1.0]).rename(columns={"t2m": "msl"}).assign(msl=1e5))])
    assert both[f"{T}_flag"].values.tolist() == [Flag.WITHHELD, 0, 0, 0]
    np.testing.assert_array_equal(both[f"{T}_error"], [1.0, 1.0, np.nan, np.nan])


def test_files_that_are_not_there_or_not_known(tmp_path):
    with pytest.raises(ObservationError, match=r"No file or folder '.*nothing.csv'"):
        read_observations(tmp_path / "nothing.csv")
    (tmp_path / "reports.xyz").write_text("?")
    with pytest.raises(ObservationError, match=r"format of '.xyz' is not known. Expected .csv"):
        read_observations(tmp_path / "reports.xyz")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "broken.nc").write_text("CDF?")
    with pytest.raises(ObservationError, match="cannot be read as NetCDF"):
        read_observations(tmp_path / "broken.nc")
    with pytest.raises(ObservationError, match="the file is empty"):
        read_observations(tmp_path / "empty.csv")


def test_importing_brings_in_nothing_optional():
    optional = ("pint", "pdbufr", "eccodes", "metpy", "torch")
    code = f"import sys, xappa.observations; print([m for m in {optional} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
