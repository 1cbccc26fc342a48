"""Observations that went through tables and files come back with their flags, errors and coordinates."""

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.errors import AssumptionWarning, ObservationError
from xappa.observations import Flag, read_observations

T, U, SPEED = "2m_temperature", "10m_u_component_of_wind", "wind_speed"
COORDINATES = ["time", "latitude", "longitude", "altitude", "station", "source"]


@pytest.fixture
def obs() -> xr.Dataset:
    table = pd.DataFrame(
        {
            "time": pd.Timestamp("2020-01-01T06"),
            "lat": [50.0, 51.0, 52.0],
            "lon": 0.0,
            "elev": 10.0,
            "station": list("abc"),
            "t2m": [280.0, 281.0, 282.0],
            "t2m_error": [1.0, 1.5, 2.0],
            "wspd": [3.0, 4.0, 5.0],
            "wdir": [90.0, 180.0, 270.0],
        }
    )
    obs = read_observations({"synop": table})
    obs[f"{T}_flag"][:] = [Flag.GOOD, Flag.WITHHELD, Flag.BUDDY_CHECK]
    return obs


def as_reasons(table: pd.DataFrame) -> pd.DataFrame:
    names = {int(flag): flag.name.lower() for flag in Flag}
    return table.assign(**{name: table[name].map(names) for name in table if name.endswith("_flag")})


def melted(obs: xr.Dataset) -> pd.DataFrame:
    return obs.to_dataframe().reset_index(drop=True).melt(COORDINATES, var_name="variable", value_name="observation")


def tidy(obs: xr.Dataset) -> pd.DataFrame:
    table = obs.to_dataframe()
    parts = [
        table[COORDINATES].assign(variable=name, observation=table[name], flag=table[f"{name}_flag"])
        for name in obs.data_vars
        if f"{name}_flag" in obs
    ]
    return pd.concat(parts, ignore_index=True)


def through_csv(obs, folder, **options):
    obs.to_dataframe().to_csv(folder / "obs.csv", **options)
    return folder / "obs.csv"


def through_parquet(obs, folder):
    pytest.importorskip("pyarrow")
    obs.to_dataframe().to_parquet(folder / "obs.parquet")
    return folder / "obs.parquet"


def through_netcdf(obs, folder):
    pytest.importorskip("netCDF4")
    obs.to_netcdf(folder / "obs.nc")
    return folder / "obs.nc"


def through_zarr(obs, folder):
    obs.to_zarr(folder / "obs.zarr", consolidated=False)
    return folder / "obs.zarr"


WAYS = {
    "frame": lambda obs, folder: obs.to_dataframe(),
    "reset": lambda obs, folder: obs.to_dataframe().reset_index(),
    "indexed": lambda obs, folder: obs.to_dataframe().set_index(["station", "time"]),
    "reasons": lambda obs, folder: as_reasons(obs.to_dataframe()),
    "csv": through_csv,
    "csv without index": lambda obs, folder: through_csv(obs, folder, index=False),
    "parquet": through_parquet,
    "from a table": lambda obs, folder: xr.Dataset.from_dataframe(obs.to_dataframe()),
    "netcdf": through_netcdf,
    "zarr": through_zarr,
    "melted": lambda obs, folder: melted(obs),
    "tidy": lambda obs, folder: tidy(obs),
    "tidy with reasons": lambda obs, folder: tidy(obs).assign(flag=lambda t: [Flag(f).name.lower() for f in t["flag"]]),
}


@pytest.mark.parametrize("way", WAYS)
def test_flags_come_back(way, obs, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = read_observations(WAYS[way](obs, tmp_path)).sortby("latitude")
    assert again.sizes == obs.sizes
    for name in (T, U, SPEED):
        np.testing.assert_allclose(again[name], obs[name])
        np.testing.assert_array_equal(again[f"{name}_flag"], obs[f"{name}_flag"])
    assert again["station"].values.tolist() == list("abc")
    np.testing.assert_array_equal(again["time"], obs["time"])
    if not way.startswith("tidy"):
        np.testing.assert_array_equal(again[f"{T}_error"], obs[f"{T}_error"])


@pytest.mark.parametrize("way", ["frame", "csv", "parquet", "melted"])
def test_units_are_those_of_the_vocabulary_where_flags_tell_that_xappa_wrote_it(way, obs, tmp_path):
    source = WAYS[way](obs, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AssumptionWarning)
        read_observations(source)


def test_periods_heights_and_sources_come_back(obs, tmp_path):
    obs = obs[[T, f"{T}_error", f"{T}_flag"]].assign_coords(
        period=("obs", np.array([6, "NaT", 24], "timedelta64[h]")), height=("obs", [2.0, np.nan, 1.5])
    )
    for way in ("frame", "csv", "parquet"):
        again = read_observations(WAYS[way](obs, tmp_path))
        np.testing.assert_array_equal(again["period"], obs["period"])
        np.testing.assert_array_equal(again["height"], obs["height"])
        assert again["source"].values.tolist() == ["synop"] * 3


@pytest.mark.parametrize("flag", [99, "withold"])
def test_flags_that_are_none_are_refused(flag, obs):
    table = obs.to_dataframe().astype({f"{T}_flag": object})
    table.loc[1, f"{T}_flag"] = flag
    with pytest.raises(ObservationError, match=rf"'{T}_flag'.*{flag}.*source_quality"):
        read_observations(table)


def test_flags_that_contradict_the_places_are_of_another_scheme(obs):
    table = obs.to_dataframe().assign(**{f"{T}_flag": [1, 1, 4]})
    with pytest.warns(AssumptionWarning, match=f"'{T}_flag'.*QARTOD"):
        again = read_observations(table)
    assert again[f"{T}_flag"].values.tolist() == [0, 0, Flag.REJECTED_BY_SOURCE]
