"""Quantities rejected as a whole: one warning that says the usual cause; swapped places are refused."""

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.errors import ObservationError, RejectionWarning
from xappa.observations import Flag, read_observations, with_flag

T, P = "2m_temperature", "mean_sea_level_pressure"


def frame(size: int = 4, **columns) -> pd.DataFrame:
    times = pd.date_range("2024-01-01", periods=size, freq="h")
    return pd.DataFrame({"time": times, "lat": np.arange(size) * 10.0, "lon": np.arange(size) * 10.0} | columns)


@pytest.mark.parametrize(
    ("column", "units", "values", "probable"),
    [
        ("t2m", "K", [20.0, 21.0, -5.0, 8.0], "degC"),
        ("t2m", "K", [60.0, 75.0, 80.0, 100.0], "degF"),
        ("t2m", "K", [2810.0, 2820.0, 2830.0, 2840.0], "0.1 K"),
        ("msl", "Pa", [1013.0, 1002.0, 990.0, 1030.0], "hPa"),
        ("msl", "Pa", [30.1, 29.9, 29.5, 30.3], "inHg"),
        ("rh2m", "1", [55.0, 60.0, 70.0, 99.0], "percent"),
        ("tp", "m", [2.0, 3.0, 10.0, 12.0], "mm"),
    ],
)
def test_values_in_other_units_are_said_with_the_probable_ones(column, units, values, probable):
    with pytest.warns(RejectionWarning, match=rf"out_of_range: .*probably in {probable}: units=") as said:
        read_observations(frame(**{column: values}), units={column: units})
    said = [warning for warning in said if warning.category is RejectionWarning]
    assert len(said) == 1 and said[0].filename == __file__


def test_one_warning_for_all_quantities():
    with pytest.warns(RejectionWarning) as said:
        read_observations(frame(t2m=20.0, msl=1013.0), units={"t2m": "K", "msl": "Pa"})
    assert len(said) == 1
    assert T in str(said[0].message) and P in str(said[0].message)


@pytest.mark.parametrize(
    ("changed", "reason"), [({"lat": np.nan}, "missing_place"), ({"time": ["2024-01-01", "a", "b", "c"]}, None)]
)
def test_other_reasons(changed, reason):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RejectionWarning)
        read_observations(frame(t2m=280.0).assign(**changed), units={"t2m": "K"})
    assert [reason in str(warning.message) for warning in said] == ([True] if reason else [])


def test_nothing_is_said_of_good_of_derived_of_lazy_and_of_known_rejections():
    with warnings.catch_warnings():
        warnings.simplefilter("error", RejectionWarning)
        # One good value is enough; speed and direction are only unused.
        read_observations(frame(t2m=[20.0, 20.0, 20.0, 280.0]), units={"t2m": "K"})
        obs = read_observations(frame(ff10=5.0, dd10=90.0), units={"ff10": "m s-1", "dd10": "degree"})
        assert (obs["10m_wind_speed_flag"] == Flag.UNUSED).all()
        lazy = xr.Dataset.from_dataframe(frame(t2m=20.0)).set_coords(["time", "lat", "lon"]).chunk()
        lazy["t2m"].attrs["units"] = "K"
        assert read_observations(lazy)[T].chunks is not None
        read_observations(with_flag(obs, "10m_u_component_of_wind", np.ones(4, bool), Flag.WITHHELD))


SWAPPED = {"lat": [-122.3, 4.4, 151.2, 8.0], "lon": [47.4, 50.8, -33.9, 50.0]}


@pytest.mark.parametrize("rows", [slice(None), slice(0, 3), [1, 3, 2]])
def test_swapped_latitudes_and_longitudes_are_refused(rows):
    table = frame(t2m=280.0, **SWAPPED).iloc[rows]
    with pytest.raises(ObservationError, match=r"latitude and longitude seem to be swapped.*rename="):
        read_observations(table)
    right = read_observations(table, rename={"lat": "longitude", "lon": "latitude"})
    np.testing.assert_array_equal(right["latitude"], table["lon"])


@pytest.mark.parametrize(
    "places",
    [
        {"lat": [91.0, 50.0, 51.0, 52.0], "lon": [100.0, 4.0, 5.0, 6.0]},  # a longitude that is no latitude
        {"lat": [91.0, 50.0, np.nan, 52.0], "lon": [10.0, 4.0, 5.0, 6.0]},  # a damaged column
        {"lat": [999.0, 50.0, 51.0, 52.0], "lon": [10.0, 4.0, 5.0, 6.0]},  # no longitude either
    ],
)
def test_single_wrong_latitudes_are_flagged(places):
    obs = read_observations(frame(t2m=280.0, **places), units={"t2m": "K"})
    assert obs[f"{T}_flag"].values[0] == Flag.MISSING_PLACE


@pytest.mark.parametrize("reports", [1, 10])
def test_one_wrong_latitude_of_many_places_is_no_sign(reports):
    table = frame(20, t2m=280.0).assign(lat=50.0, lon=np.arange(20.0))
    wrong = frame(reports, t2m=280.0).assign(lat=95.0, lon=3.0)
    obs = read_observations(pd.concat([wrong, table]), units={"t2m": "K"})
    assert obs[f"{T}_flag"].values.tolist() == [Flag.MISSING_PLACE] * reports + [0] * 20
